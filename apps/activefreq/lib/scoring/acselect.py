"""Scores of the images that wait for a label, and embeddings of those that have one."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch
from fastapi import HTTPException
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.tasks.scoring import ScoringMethod

from activefreq.acselect.coverage import mean_embedding
from activefreq.acselect.ranking import ImageScore, measure_slice, score_image, spread_slices
from activefreq.errors import InputError
from activefreq.models.interactive import InteractiveModel
from activefreq.session.automatic import automatic_answer
from activefreq.session.state import prepare_image
from lib.active_store import ActiveStore, ActiveStores, StoredScore
from lib.background import Pace, is_orphaned, is_scoring_process
from lib.images import ImageCache
from lib.labelled import images_to_score
from lib.served_model import ServedModel
from lib.studies import file_stamp, studies_folder

logger = logging.getLogger(__name__)

SLICES = 24
"""The most slices of a volume that are looked at, equally spread."""


class AcSelectScoring(ScoringMethod):
    """Looks at what the present model has not seen yet: new and changed images, and all after a new model.

    Images with a label are looked at as well, but not more of them than `labelled.LIMIT`: what
    they stand for needs no further label.

    Every score is kept as soon as it is there: a run that is stopped goes on where it was. That an image cannot be used
    is kept as well, if the image is what is wrong. Trouble of another kind (a DICOMweb server or disk that does not
    answer, no memory) may be over soon: the image is left with what is stored of it, and looked at by the next run.

    Args:
        model: Answers of the model without a click are what is scored.
        stores: Where scores are kept.
        share: Of one processor core that may be used, in (0, 1].
    """

    def __init__(self, model: ServedModel, stores: ActiveStores, *, share: float) -> None:
        super().__init__("AcSelect: how much of the object is in doubt, per image and slice")
        self._model = model
        self._stores = stores
        self._share = share

    def __call__(self, request: Mapping[str, Any], datastore: LocalDatastore) -> dict[str, Any]:
        """Scores images until there is none left.

        Returns:
            Numbers of images scored now, of unusable ones among them, of those whose score was still good, and of those
            that were left for the next run.

        Raises:
            CheckpointError: There is no usable model.
        """
        store = self._stores.of(studies_folder(datastore))
        if is_scoring_process():
            torch.set_num_threads(1)
        started = time.perf_counter()
        counts = {"scored": 0, "unusable": 0, "kept": 0, "left": 0}
        try:
            with filelock.FileLock(store.path.with_suffix(".lock"), timeout=0):
                while not self._score_all(store, datastore, counts):
                    logger.info("There is a new model: scoring begins anew")
        except filelock.Timeout:
            logger.info("Another process is scoring")
        if counts["left"]:
            logger.warning("%d images could not be scored now and are left for the next scoring", counts["left"])
        return {**counts, "seconds": round(time.perf_counter() - started, 2)}

    def _score_all(self, store: ActiveStore, datastore: LocalDatastore, counts: dict[str, int]) -> bool:
        """Goes through all images once; False if the model was replaced on the way."""
        loaded = self._model.current()
        pace = Pace(self._share)
        known = store.scores()
        # What has never been scored first: the others have a score that will do for now.
        for image in sorted(images_to_score(datastore), key=lambda image: (image in known, image)):
            if self._model.current() is not loaded:
                return False
            if is_orphaned():
                # The server is gone.
                return True
            score, embedding, stamp, problem = None, None, "", ""
            try:
                path = Path(datastore.get_image_uri(image))
                stamp = file_stamp(path)
                before = known.get(image)
                if before is not None and (before.version, before.stamp) == (loaded.version, stamp):
                    counts["kept"] += 1
                    continue
                score, embedding = _look_at_file(loaded.segmenter.model, path, pace)
            except Exception as error:  # of whatever kind: the other images can do nothing for it
                problem = str(getattr(error, "detail", error)) or type(error).__name__
                if not _is_of_image(error):
                    logger.warning("%s is not scored now: %s", image, problem)
                    counts["left"] += 1
                    continue
                logger.warning("%s cannot be scored: %s", image, problem)
                counts["unusable"] += 1
            store.save(image, StoredScore(loaded.version, stamp, score, problem), embedding)
            counts["scored"] += 1
        return True


def _is_of_image(error: Exception) -> bool:
    """Whether the image is what is wrong, and will be so the next time."""
    if isinstance(error, HTTPException):
        return 400 <= error.status_code < 500
    cause = error.__cause__
    if isinstance(cause, InputError):
        return _is_of_image(cause)
    # Readers say of a disk that fails while they read that the image is bad. Of bad pixels the system knows nothing.
    of_system = isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno is not None)
    # Readers have errors of their own, or let through what goes wrong within them.
    return not isinstance(error, (OSError, MemoryError, RuntimeError)) and not of_system


def _look_at_file(model: InteractiveModel, path: Path, pace: Pace) -> tuple[ImageScore, np.ndarray]:
    """Score and embedding."""
    volume = ImageCache(0).load(path).volume
    numbers = spread_slices(len(volume.array), SLICES)
    measures, embeddings = [], []
    for k in numbers:
        answer = automatic_answer(model, prepare_image(volume.array[k]))
        measures.append(measure_slice(answer.probability))
        embeddings.append(answer.embedding)
        pace.rest()
    score = score_image(measures, numbers.tolist())
    return score, mean_embedding(embeddings, [measure.size for measure in measures])
