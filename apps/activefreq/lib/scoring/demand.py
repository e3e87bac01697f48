"""Whether a scoring process would have anything to do."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from monailabel.datastore.local import LocalDatastore
from monailabel.utils.async_tasks.utils import background_executors

from activefreq.errors import CheckpointError
from lib.active_store import ActiveStores, StoredScore
from lib.labelled import images_to_score
from lib.served_model import ServedModel
from lib.studies import image_stamp, studies_folder
from lib.task_queue import TaskQueue, install_queue

logger = logging.getLogger(__name__)

RETRY_SECONDS = 600.0
"""After which scoring is asked for again although nothing is new: what kept it from an image may be over."""

LOOK_SECONDS = 0.02
"""How long each question may take to look whether files have changed: thousands of them, in turn."""


class ScoringDemand:
    """Remembers what scoring was asked for, so that no process is started for nothing, or soon again for one thing.

    Images lack a score if they never had one, if it is another model's, or if their file has changed since.

    Args:
        model: Whose scores are wanted.
        stores: Where they are.
        now: The clock, in seconds.
    """

    def __init__(self, model: ServedModel, stores: ActiveStores, *, now: Callable[[], float] = time.monotonic) -> None:
        self._model = model
        self._stores = stores
        self._now = now
        self._asked: tuple[str, frozenset[tuple[str, str]]] | None = None
        self._again = 0.0
        # By image: the score that was compared with the file, and the file's stamp.
        self._compared: dict[str, tuple[StoredScore, str]] = {}
        self._turn = 0
        # This queue knows what runs or waits; MONAI Label calls what could not be started submitted, for ever.
        install_queue("scoring")

    def is_new(self, datastore: LocalDatastore) -> bool:
        """Whether images lack a score of the present model, no scoring is under way, and it is not what just failed.

        What failed is new again after `RETRY_SECONDS`.
        """
        queue = background_executors.get("scoring")
        if isinstance(queue, TaskQueue) and queue.is_busy():
            return False
        try:
            version = self._model.version
        except CheckpointError as error:
            logger.warning("Nothing is scored: %s", error)
            return False
        scores = self._stores.of(studies_folder(datastore)).scores()
        images = images_to_score(datastore)
        self._compare(datastore, images, scores)
        lacking = frozenset(
            (image, self._changed(image, scores.get(image)))
            for image in images
            if image not in scores or scores[image].version != version or self._changed(image, scores[image])
        )
        if not lacking or (self._asked == (version, lacking) and self._now() < self._again):
            return False
        self._asked, self._again = (version, lacking), self._now() + RETRY_SECONDS
        return True

    def _compare(self, datastore: LocalDatastore, images: Sequence[str], scores: Mapping[str, StoredScore]) -> None:
        """Looks at the files of some images, the next time at those that follow."""
        until = time.perf_counter() + LOOK_SECONDS
        for _ in images:
            image = images[self._turn % len(images)]
            self._turn = (self._turn + 1) % len(images)
            if image in scores:
                self._compared[image] = scores[image], image_stamp(datastore, image)
            if time.perf_counter() > until:
                break

    def _changed(self, image: str, score: StoredScore | None) -> str:
        """The stamp of a file that was seen to differ from the one that was scored; empty if none was."""
        compared, stamp = self._compared.get(image, (None, ""))
        return stamp if compared is score and score is not None and stamp != score.stamp else ""
