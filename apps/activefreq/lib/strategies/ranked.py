"""Strategies that give the next image by some value of it, in turns that are fair to images and people."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.tasks.strategy import Strategy

from lib.active_store import ActiveStores, StoredScore
from lib.studies import studies_folder

logger = logging.getLogger(__name__)

Valuation = Callable[[Sequence[StoredScore | None], np.random.Generator], np.ndarray]
"""The value of each image from what is stored of it (None: nothing yet); NaN where it is not known."""


class RankedStrategy(Strategy):
    """Gives the image of the highest value that nobody else is at; see `ActiveStore.next_image`.

    Args:
        description: What the clients show.
        valuation: What makes an image worth labelling.
        stores: Scores and turns.
        generator: Of what is random in the valuation.
    """

    def __init__(
        self, description: str, valuation: Valuation, stores: ActiveStores, *, generator: np.random.Generator
    ) -> None:
        super().__init__(description)
        self._valuation = valuation
        self._stores = stores
        self._generator = generator

    def __call__(self, request: Mapping[str, Any], datastore: LocalDatastore) -> dict[str, Any] | None:
        """Chooses an image.

        Args:
            request: `client_id` says who asks; optional.

        Returns:
            Its `id`; what is known of it: `score`, `slice` (where to begin in a volume), `problem` (why it cannot be
            used); and how many images wait. None if nobody has to label anything.
        """
        waiting = datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels"))
        if not waiting:
            return None
        store = self._stores.of(studies_folder(datastore))
        scores = store.scores()
        values = self._valuation([scores.get(image) for image in waiting], self._generator)
        chosen = store.next_image(waiting, values, str(request.get("client_id") or ""))
        if chosen is None:
            logger.info("All %d images without a label are with somebody else", len(waiting))
            return None
        answer: dict[str, Any] = {"id": chosen, "waiting": len(waiting)}
        stored = scores.get(chosen)
        if stored is not None and stored.score is not None:
            answer |= {"score": round(stored.score.acselect, 6), "slice": stored.score.slice}
        elif stored is not None:
            answer["problem"] = stored.problem
        return answer


def by_acselect(stored: Sequence[StoredScore | None], generator: np.random.Generator) -> np.ndarray:
    """The AcSelect score."""
    return np.array([one.score.acselect if one and one.score else np.nan for one in stored])


def by_entropy(stored: Sequence[StoredScore | None], generator: np.random.Generator) -> np.ndarray:
    """The mean pixel entropy."""
    return np.array([one.score.entropy if one and one.score else np.nan for one in stored])


def at_random(stored: Sequence[StoredScore | None], generator: np.random.Generator) -> np.ndarray:
    """Any order, each as likely as another."""
    return generator.random(len(stored))


def at_random_with_foreground(stored: Sequence[StoredScore | None], generator: np.random.Generator) -> np.ndarray:
    """Any order of the images in which the model sees an object, then of those not scored yet, then of the others."""
    classes = [1.0 if one is None else 2.0 if one.score and one.score.foreground > 0 else 0.0 for one in stored]
    return np.array(classes) + generator.random(len(stored))
