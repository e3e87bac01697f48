"""Whether a scoring process would have anything to do."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from monailabel.datastore.local import LocalDatastore
from monailabel.utils.async_tasks.utils import tasks

from activefreq.errors import CheckpointError
from lib.active_store import ActiveStores
from lib.labelled import images_to_score
from lib.served_model import ServedModel
from lib.studies import studies_folder

logger = logging.getLogger(__name__)

RETRY_SECONDS = 600.0
"""After which scoring is asked for again although nothing is new: what kept it from an image may be over."""


class ScoringDemand:
    """Remembers what scoring was asked for, so that no process is started for nothing, or soon again for one thing.

    Args:
        model: Whose scores are wanted.
        stores: Where they are.
        now: The clock, in seconds.
    """

    def __init__(self, model: ServedModel, stores: ActiveStores, *, now: Callable[[], float] = time.monotonic) -> None:
        self._model = model
        self._stores = stores
        self._now = now
        self._asked: tuple[str, frozenset[str]] | None = None
        self._again = 0.0

    def is_new(self, datastore: LocalDatastore) -> bool:
        """Whether images lack a score of the present model, no scoring is under way, and it is not what just failed.

        What failed is new again after `RETRY_SECONDS`.
        """
        if any(task["status"] in ("SUBMITTED", "RUNNING") for task in tasks("scoring")):
            return False
        try:
            version = self._model.version
        except CheckpointError as error:
            logger.warning("Nothing is scored: %s", error)
            return False
        scores = self._stores.of(studies_folder(datastore)).scores()
        lacking = frozenset(
            image for image in images_to_score(datastore) if image not in scores or scores[image].version != version
        )
        if not lacking or (self._asked == (version, lacking) and self._now() < self._again):
            return False
        self._asked, self._again = (version, lacking), self._now() + RETRY_SECONDS
        return True
