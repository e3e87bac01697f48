"""The regions that deserve the next look, as a label map: what OHIF and Slicer can show of AcSelect."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferType

from activefreq.acselect.ranking import spread_slices
from activefreq.session.automatic import automatic_probability
from lib.answer_file import write_answer
from lib.answers import http_errors
from lib.click_memory import ClickMemory
from lib.click_request import ClickRequest
from lib.clients import client_of
from lib.images import ImageCache, LoadedImage
from lib.infers.served_task import ServedTask
from lib.scoring.acselect import SLICES
from lib.served_model import LoadedModel, ServedModel
from lib.suggested import SliceSuggestions, suggest_beginning, suggest_slice
from lib.suggested_segments import ADD, REMOVE

LABELS = {ADD: 1, REMOVE: 2}
"""Names of their own: a suggestion must never become part of the structure that is segmented."""


class RegionSuggestions(ServedTask):
    """Suggests regions after the clicks of the request, or else after those that were made last on the image.

    Its type makes it appear under automatic segmentation in both clients. Without any click, slices are answered with
    what the model takes for the object: the region to begin in. Of a volume with many slices these are as few, and
    the same ones, as scoring looks at.

    Args:
        model: Answers clicks.
        images: Reads images.
        memory: Knows the last clicks.
    """

    def __init__(self, model: ServedModel, images: ImageCache, memory: ClickMemory) -> None:
        super().__init__(
            model,
            images,
            kind=InferType.SEGMENTATION,
            labels=LABELS,
            description="ActiveFreq: regions that may be wrong, to be clicked next",
        )
        self._memory = memory

    def __call__(self, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Answers one request.

        Args:
            request: As of `ClickSegmentation`, all but `image` optional.

        Returns:
            Path of the label map (uint8, `LABELS`, on the image's grid; the caller removes it), and JSON-like facts:
            the names of the labels that are in it, the suggestions, whether they are based on clicks, the slices that
            were looked at, seconds.

        Raises:
            HTTPException: 422 for input that cannot be used, 503 without a usable checkpoint, 507 without room.
        """
        with http_errors():
            start = time.perf_counter()
            image = self._images.load(Path(request["image"]))
            clicks = ClickRequest.parse(request, image.size)
            model = self._model.current()
            found = list(self._after_clicks(image, clicks, model, client_of(request)))
            by_clicks = bool(found)
            if not by_clicks:
                found = list(self._beginnings(image, model))
            labels = np.zeros(image.volume.array.shape[:3], np.uint8)
            for slice_ in found:
                labels[slice_.k] = slice_.label_map()
            path = write_answer(labels, image, clicks)
            seconds = round(time.perf_counter() - start, 4)
        present = np.unique(labels)
        return str(path), {
            # Slicer names what it finds in the map by this list, in order.
            "label_names": {name: number for name, number in LABELS.items() if number in present},
            "suggestions": [one for slice_ in found for one in slice_.described()],
            "by_clicks": by_clicks,
            "looked_at": [slice_.k for slice_ in found],
            "model_version": model.version,
            "latencies": {"total": seconds},
        }

    def _after_clicks(
        self, image: LoadedImage, clicks: ClickRequest, model: LoadedModel, client: str
    ) -> Iterator[SliceSuggestions]:
        if not clicks.slices:
            for k, state in self._memory.get(image, client).items():
                yield suggest_slice(state, k)
        for k, points in clicks.slices.items():
            prepared = self._images.prepare(image, k)
            answer = model.replay.answer(
                (image.key, k), prepared, points.positives, points.negatives, signs=points.signs
            )
            yield suggest_slice(answer.state, k)

    def _beginnings(self, image: LoadedImage, model: LoadedModel) -> Iterator[SliceSuggestions]:
        for k in spread_slices(image.size[2], SLICES).tolist():
            probability = automatic_probability(model.segmenter.model, self._images.prepare(image, k))
            yield suggest_beginning(probability, k)
