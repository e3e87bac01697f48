"""Strategies that choose the next image, by the name under which the clients ask for them."""

from __future__ import annotations

import numpy as np
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.tasks.activelearning.first import First

from lib.active_store import ActiveStores
from lib.strategies.ranked import RankedStrategy, at_random, at_random_with_foreground, by_acselect, by_entropy


def make_strategies(stores: ActiveStores) -> dict[str, Strategy]:
    """OHIF's panel asks for "random" until its user chooses another."""
    generator = np.random.default_rng()
    valuations = {
        "acselect": ("AcSelect: the image whose object is most in doubt", by_acselect),
        "random": ("Random: every image is as likely", at_random),
        "entropy": ("Entropy: the image with the highest mean predictive entropy", by_entropy),
        "foreground_random": ("Random among the images in which the model sees an object", at_random_with_foreground),
    }
    strategies: dict[str, Strategy] = {
        name: RankedStrategy(description, valuation, stores, generator=generator)
        for name, (description, valuation) in valuations.items()
    }
    return {**strategies, "first": First()}
