"""Targets that only clicks can tell: the object as somebody else would draw it.

A network that has seen three kinds of object learns what they look like, and then that it may ignore a click that says
otherwise. So a share of the exercises with several rounds of corrections has a target whose border was moved at
random: what it is can only be read off the clicks. Views with a single click keep the expert's mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from activefreq.data.borders import moved_border
from activefreq.errors import InputError


@dataclass(frozen=True)
class OpinionConfig:
    """How often, and how much, targets differ from the expert's.

    Attributes:
        share: Share of the views whose target is another one, in [0, 1]; 0 for the experts' alone.
        from_rounds: Least number of rounds of corrections of such an exercise.
        border: Range of the border's move: its standard deviation as a share of the object's greatest depth, so that a
            thin ring stays one.
    """

    share: float = 0.0
    from_rounds: int = 2
    border: tuple[float, float] = (0.1, 0.5)

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InputError(f"share must be from 0 to 1, not {self.share!r}")
        if not 0 <= self.border[0] <= self.border[1]:
            raise InputError(f"border must be a range of numbers of at least 0, not {self.border!r}")


def another_opinion(target: np.ndarray, rng: np.random.Generator, config: OpinionConfig, *, rounds: int) -> np.ndarray:
    """The target, or at times another opinion of it.

    Args:
        target: (S, S) bool with at least one True.
        rounds: Rounds of corrections of the exercise.

    Returns:
        (S, S) bool with at least one True.
    """
    if rounds < config.from_rounds or rng.random() >= config.share:
        return target
    depth = ndimage.distance_transform_edt(target).max()
    radius = np.sqrt(np.count_nonzero(target) / np.pi)
    return moved_border(target, float(rng.uniform(*config.border)) * depth / radius, rng)
