"""What the model takes for the object in every slice, before anyone clicks."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferType

from activefreq.errors import InputError
from activefreq.session.automatic import automatic_probability
from activefreq.session.state import THRESHOLD, prepare_image
from lib.answer_file import write_answer
from lib.answers import http_errors
from lib.click_request import ClickRequest
from lib.images import ImageCache
from lib.infers.served_task import ServedTask
from lib.served_model import ServedModel

MOST_SLICES = 1000
"""Of a volume: each is a pass through the network, which nobody can stop."""


class AutomaticSegmentation(ServedTask):
    """Segments all slices without a click, one volume at a time: clicks have to be answered meanwhile.

    The first segmentation model of the app, and so the one that *Auto-run on next sample* of Slicer takes.

    Args:
        model: Answers.
        images: Reads images.
        label: What the structure is called, as by `ClickSegmentation`.
    """

    def __init__(self, model: ServedModel, images: ImageCache, *, label: str) -> None:
        super().__init__(
            model,
            images,
            kind=InferType.SEGMENTATION,
            labels={label: 1},
            description="ActiveFreq: the object in every slice without a click, to be corrected by clicks",
        )
        self._turn = threading.Lock()

    def __call__(self, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Answers one request.

        Args:
            request: `image`: path of the image; the wish for a file format as `ClickRequest` reads it.

        Returns:
            Path of the mask (uint8, 0 and 1, on the image's grid; the caller removes it), and JSON-like facts: the
            slices in which something was found, and how much, seconds.

        Raises:
            HTTPException: 422 for input that cannot be used, 503 without a usable checkpoint, 507 without room.
        """
        with http_errors():
            start = time.perf_counter()
            image = self._images.load(Path(request["image"]))
            wish = ClickRequest.parse(request, image.size)
            if wish.slices:
                raise InputError("this model takes no clicks; activefreq does")
            slices = image.volume.array
            if len(slices) > MOST_SLICES:
                raise InputError(
                    f"the image has {len(slices)} slices, and at most {MOST_SLICES} are segmented without clicks"
                )
            with self._turn:
                model = self._model.current()
                # Not from the cache of slices: a whole volume would drive out those that people click on.
                mask = np.stack(
                    [automatic_probability(model.segmenter.model, prepare_image(one)) > THRESHOLD for one in slices]
                )
            path = write_answer(mask, image, wish)
            seconds = round(time.perf_counter() - start, 4)
        pixels = mask.sum((1, 2))
        return str(path), {
            "label_names": self.labels,
            "slices": [{"k": int(k), "pixels": int(pixels[k])} for k in np.flatnonzero(pixels)],
            "model_version": model.version,
            "latencies": {"total": seconds},
        }
