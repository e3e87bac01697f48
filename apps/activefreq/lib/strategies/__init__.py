"""Strategies that choose the next image, by the name under which the clients ask for them."""

from __future__ import annotations

import numpy as np
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.tasks.activelearning.first import First

from activefreq.acselect.strategies import STRATEGIES
from lib.active_store import ActiveStores
from lib.outlook import Outlooks
from lib.strategies.ranked import RankedStrategy

DESCRIPTIONS = {
    "acselect": "AcSelect: the image that stands for most of those without a label",
    "acselect_score": "AcSelect's score alone: the image whose object is most in doubt",
    "random": "Random: every image is as likely",
    "entropy": "Entropy: the image with the highest mean predictive entropy",
    "foreground_random": "Random among the images in which the model sees an object",
}
"""What the clients show of the strategies in `activefreq.acselect.strategies`."""


def make_strategies(stores: ActiveStores) -> dict[str, Strategy]:
    """OHIF's panel asks for "random" until its user chooses another."""
    generator, outlooks = np.random.default_rng(), Outlooks()
    strategies: dict[str, Strategy] = {
        name: RankedStrategy(DESCRIPTIONS[name], strategy, stores, outlooks, generator=generator)
        for name, strategy in STRATEGIES.items()
    }
    return {**strategies, "first": First()}
