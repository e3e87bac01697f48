"""Inference tasks by the name under which the clients see them."""

from __future__ import annotations

from monailabel.interfaces.tasks.infer_v2 import InferTask

from lib.click_memory import ClickMemory
from lib.images import ImageCache
from lib.infers.automatic_segmentation import AutomaticSegmentation
from lib.infers.click_segmentation import ClickSegmentation
from lib.infers.region_suggestions import RegionSuggestions
from lib.served_model import ServedModel
from lib.settings import AppSettings


def make_infers(settings: AppSettings, model: ServedModel) -> dict[str, InferTask]:
    images = ImageCache(settings.cache_bytes)
    memory = ClickMemory(settings.cache_bytes)
    return {
        "activefreq": ClickSegmentation(model, images, memory, label=settings.label),
        "activefreq_auto": AutomaticSegmentation(model, images, label=settings.label),
        "activefreq_regions": RegionSuggestions(model, images, memory),
    }
