"""Clicks of Slicer's SmartEdit panel, OHIF's Point Prompts and scripts, answered with a mask of the whole image."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferType

from activefreq.errors import CheckpointError, InputError
from activefreq.files.label_resampling import resample_labels
from activefreq.files.raster import is_raster
from activefreq.files.volumes import read_geometry, read_label_volume
from lib.answer_file import write_answer
from lib.answers import called, http_errors
from lib.click_memory import ClickMemory
from lib.click_request import ClickRequest
from lib.clients import client_of
from lib.images import ImageCache, LoadedImage
from lib.infers.served_task import ServedTask
from lib.served_model import ServedModel
from lib.suggested import suggest_slice


class ClickSegmentation(ServedTask):
    """Segments the slices that hold clicks; the others keep what the previous mask had.

    The type is DEEPGROW because it is the only one for which both clients offer positive and negative clicks.

    Args:
        model: Answers clicks.
        images: Reads images.
        memory: Is told of every answer, for the task that shows suggestions.
        label: What the clicked structure is called.
    """

    def __init__(self, model: ServedModel, images: ImageCache, memory: ClickMemory, *, label: str) -> None:
        super().__init__(
            model,
            images,
            kind=InferType.DEEPGROW,
            labels={label: 1},
            description="ActiveFreq: click on the object, correct with further clicks",
        )
        self._memory = memory

    def info(self) -> dict[str, Any]:
        """What `/info/` tells of this task.

        `problem` says what is wrong with a checkpoint that is not served; `model_version` and `mirrors` what, beside
        the clicks, decides an answer (the version is None without a checkpoint's file).
        """
        try:
            version = self._model.version
        except CheckpointError:
            version = None
        served = {"model_version": version, "mirrors": self._model.mirrors, "problem": self._model.problem}
        return {**super().info(), **served}

    def __call__(self, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Answers one request.

        Args:
            request: `image`: path of the image; `label`: path of a mask of the same size to continue from (optional);
                clicks and the wish for a file format as `ClickRequest` reads them.

        Returns:
            Path of the mask (uint8, 0 and 1, on the image's grid; the caller removes it), and JSON-like facts:
            the clicks in the order in which they were applied, figures of every slice that holds clicks, the regions of
            them that deserve the next look (see `suggested.SliceSuggestions.described`), seconds.

        Raises:
            HTTPException: 422 for input that cannot be used, 503 without a usable checkpoint, 507 without room.
        """
        with http_errors():
            start = time.perf_counter()
            path = Path(request["image"])
            image = self._images.load(path)
            clicks = ClickRequest.parse(request, image.size)
            mask = _previous_mask(request.get("label"), path, image)
            model = self._model.current()
            loaded = time.perf_counter()

            slices, order, states = [], [], {}
            for k, points in clicks.slices.items():
                answer = model.replay.answer(
                    (image.key, k),
                    self._images.prepare(image, k),
                    points.positives,
                    points.negatives,
                    signs=points.signs,
                    previous_mask=mask[k] if mask[k].any() else None,
                )
                states[k] = answer.state
                mask[k] = answer.state.mask
                order += [[c.x, c.y, k, int(c.positive)] for c in answer.state.clicks]
                slices.append({"k": k, "pixels": int(mask[k].sum()), "passes": answer.passes})
            answered = time.perf_counter()
            self._memory.put(image, client_of(request), states)
            suggestions = [one for k, state in states.items() for one in suggest_slice(state, k).described()]
            suggested = time.perf_counter()

            answered_in = write_answer(mask, image, clicks)
            written = time.perf_counter()
        return str(answered_in), {
            "label_names": self.labels,
            "clicks": order,
            "slices": slices,
            "suggestions": suggestions,
            "model_version": model.version,
            "latencies": {
                "load": round(loaded - start, 4),
                "infer": round(answered - loaded, 4),
                "suggest": round(suggested - answered, 4),
                "write": round(written - suggested, 4),
                "total": round(written - start, 4),
            },
        }


def _previous_mask(label: str | None, path: Path, image: LoadedImage) -> np.ndarray:
    """(K, J, I) bool, a new array; empty without a label's path.

    Where both files say how they lie in space, voxels that lie in another order are brought into the image's.

    Raises:
        InputError: The mask has another size, or lies elsewhere.
    """
    shape = image.volume.array.shape[:3]
    if label is None:
        return np.zeros(shape, bool)
    with called(label, "the previous mask"):
        # By its header: what is packed well can be far larger than the request.
        size = read_geometry(label).shape
        if size != shape:
            raise InputError(f"the previous mask has {size[::-1]} voxels, but the image has {image.size}")
        mask = read_label_volume(Path(label))
        if not (is_raster(label) or is_raster(path)):
            mask = resample_labels(mask, image.volume.geometry)
    return mask.array != 0
