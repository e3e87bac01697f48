"""Targets that only clicks can tell: the object as somebody else would draw it.

A network that has seen three kinds of object learns what they look like, and then that it may ignore a click that says
otherwise. So a share of the exercises with several rounds of corrections has a target whose border was moved at
random, or that lies beside its object: what it is can only be read off the clicks. Views with a single click keep the
expert's mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from activefreq.data.borders import equivalent_radius, moved_border, shifted
from activefreq.errors import InputError


@dataclass(frozen=True)
class OpinionConfig:
    """How often, and how much, targets differ from the expert's.

    Attributes:
        share: Share of the views whose target is another one, in [0, 1]; 0 for the experts' alone.
        from_rounds: Least number of rounds of corrections of such an exercise.
        border: Range of the border's move: its standard deviation as a share of the object's greatest depth, so that a
            thin ring stays one.
        growth: Standard deviation of a move of the whole border in or out, as a share of the same depth.
        shifted: Share of these targets that are moved as a whole too.
        shift: Range of how far, as a share of the object's equivalent radius sqrt(area / pi).
    """

    share: float = 0.0
    from_rounds: int = 2
    border: tuple[float, float] = (0.1, 0.5)
    growth: float = 0.0
    shifted: float = 0.0
    shift: tuple[float, float] = (0.1, 0.9)

    def __post_init__(self) -> None:
        for name in ("share", "shifted"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be from 0 to 1, not {getattr(self, name)!r}")
        if not 0 <= self.growth < np.inf:
            raise InputError(f"growth must be a number of at least 0, not {self.growth!r}")
        for name in ("border", "shift"):
            low, high = getattr(self, name)
            if not 0 <= low <= high < np.inf:
                raise InputError(f"{name} must be a range of numbers of at least 0, not {(low, high)!r}")


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
    radius = equivalent_radius(target)
    border = float(rng.uniform(*config.border))
    growth = float(rng.normal(0.0, config.growth)) if config.growth else 0.0
    moved = moved_border(target, border * depth / radius, rng, growth=growth * depth / radius)
    if config.shifted and rng.random() < config.shifted:
        angle, distance = rng.uniform(0.0, 2 * np.pi), rng.uniform(*config.shift) * radius
        moved = shifted(moved, (round(distance * np.sin(angle)), round(distance * np.cos(angle))))
    return moved
