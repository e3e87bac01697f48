"""Strategies that give the next image by some value of it, in turns that are fair to images and people."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.tasks import strategy as monailabel_strategy

from activefreq.acselect.strategies import Strategy
from lib.active_store import ActiveStores
from lib.clients import client_of
from lib.labelled import labelled_sample
from lib.outlook import Outlooks
from lib.studies import studies_folder

logger = logging.getLogger(__name__)


class RankedStrategy(monailabel_strategy.Strategy):
    """Gives the image of the highest value that nobody else is at; see `ActiveStore.next_image`.

    Args:
        description: What the clients show.
        strategy: What makes an image worth labelling.
        stores: Turns.
        outlooks: What the strategy goes by.
        generator: Of what is random in the strategy.
    """

    def __init__(
        self,
        description: str,
        strategy: Strategy,
        stores: ActiveStores,
        outlooks: Outlooks,
        *,
        generator: np.random.Generator,
    ) -> None:
        super().__init__(description)
        self._strategy = strategy
        self._stores = stores
        self._outlooks = outlooks
        self._generator = generator

    def __call__(self, request: Mapping[str, Any], datastore: LocalDatastore) -> dict[str, Any] | None:
        """Chooses an image.

        Args:
            request: Read for who asks, see `clients.client_of`.

        Returns:
            Its `id`; what is known of it: `score`, `slice` (where to begin in a volume), `problem` (why it cannot be
            used); and how many images wait. None if nobody has to label anything.
        """
        waiting = datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels"))
        if not waiting:
            return None
        store = self._stores.of(studies_folder(datastore))
        client = client_of(request)
        outlook = self._outlooks.of(store)
        pool = outlook.pool(waiting, labelled_sample(datastore), client, datastore.list_images())
        chosen = store.next_image(waiting, self._strategy(pool, self._generator), client)
        if chosen is None:
            logger.info("All %d images without a label are with somebody else", len(waiting))
            return None
        answer: dict[str, Any] = {"id": chosen, "waiting": len(waiting)}
        stored = store.scores().get(chosen)
        if stored is not None and stored.score is not None:
            answer |= {"score": round(stored.score.acselect, 6), "slice": stored.score.slice}
        elif stored is not None:
            answer["problem"] = stored.problem
        return answer
