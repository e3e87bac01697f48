"""Inference tasks by the name under which the clients see them."""

from __future__ import annotations

from monailabel.interfaces.tasks.infer_v2 import InferTask

from lib.images import ImageCache
from lib.infers.click_segmentation import ClickSegmentation
from lib.served_model import ServedModel
from lib.settings import AppSettings


def make_infers(settings: AppSettings) -> dict[str, InferTask]:
    model = ServedModel(
        settings.checkpoint, device=settings.device, cache_bytes=settings.cache_bytes, finetuned=settings.finetuned
    )
    images = ImageCache(settings.cache_bytes)
    return {"activefreq": ClickSegmentation(model, images, label=settings.label)}
