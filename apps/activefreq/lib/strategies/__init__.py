"""Strategies that choose the next image, by the name under which the clients ask for them."""

from __future__ import annotations

import numpy as np
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.tasks.activelearning.first import First

from activefreq.acselect.strategies import STRATEGIES
from lib.active_store import ActiveStores
from lib.strategies.ranked import RankedStrategy

DESCRIPTIONS = {
    "acselect": "AcSelect: the image whose object is most in doubt",
    "acselect_draw": "AcSelect by lot: the more an object is in doubt, the likelier",
    "random": "Random: every image is as likely",
    "entropy": "Entropy: the image with the highest mean predictive entropy",
    "foreground_random": "Random among the images in which the model sees an object",
}
"""What the clients show of the strategies in `activefreq.acselect.strategies`."""


def make_strategies(stores: ActiveStores) -> dict[str, Strategy]:
    """OHIF's panel asks for "random" until its user chooses another."""
    generator = np.random.default_rng()
    strategies: dict[str, Strategy] = {
        name: RankedStrategy(DESCRIPTIONS[name], strategy, stores, generator=generator)
        for name, strategy in STRATEGIES.items()
    }
    return {**strategies, "first": First()}
