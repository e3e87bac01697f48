"""Simulated clicks of training: the first ones on the object, later ones on the model's own errors.

Source: iterative training of RITM (Sofiiuk et al., 2022) as FocalClick uses it; the paper's section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from activefreq.clicks import Click
from activefreq.errors import InputError
from activefreq.session.boxes import depth_in_box


@dataclass(frozen=True)
class ClickSamplingConfig:
    """How the clicks before the first forward pass are drawn.

    Attributes:
        single_share: Share of views that begin with one positive click, as a session does.
        positives, negatives: Most of either sign in the other views.
        central_share: Share of clicks on the most interior pixel; the others fall anywhere at least half as deep.
    """

    single_share: float = 0.6
    positives: int = 4
    negatives: int = 3
    central_share: float = 0.5

    def __post_init__(self) -> None:
        for name in ("single_share", "central_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be from 0 to 1, not {getattr(self, name)}")
        for name, least in (("positives", 1), ("negatives", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, not {getattr(self, name)}")


def first_clicks(
    target: np.ndarray, rng: np.random.Generator, config: ClickSamplingConfig = ClickSamplingConfig()
) -> list[Click]:
    """Clicks from the truth alone; the first one is positive and deep inside.

    Args:
        target: (S, S) bool with at least one True.
    """
    clicks = [_deep_click(target, rng, positive=True, central_share=config.central_share)]
    if rng.random() < config.single_share:
        return clicks
    inside, outside = np.argwhere(target), np.argwhere(~target)
    for _ in range(int(rng.integers(0, config.positives))):
        y, x = inside[rng.integers(len(inside))]
        clicks.append(Click(int(y), int(x), True))
    if len(outside):
        for _ in range(int(rng.integers(0, config.negatives + 1))):
            y, x = outside[rng.integers(len(outside))]
            clicks.append(Click(int(y), int(x), False))
    return clicks


def correcting_click(
    prediction: np.ndarray,
    target: np.ndarray,
    rng: np.random.Generator,
    config: ClickSamplingConfig = ClickSamplingConfig(),
) -> Click | None:
    """A click on the deeper one of the two errors (missed, excess), or None on a perfect mask.

    Of equally deep ones it is the excess, as with the standard clicker of evaluations. Late errors are all a pixel
    deep: were it the missed one, a negative click would mean that less is missing than is too much.

    Args:
        prediction, target: (S, S) bool.
    """
    missed, excess = target & ~prediction, prediction & ~target
    depths = [_depth(error) for error in (missed, excess)]
    positive = bool(depths[0].max() > depths[1].max())
    depth = depths[0] if positive else depths[1]
    if depth.max() == 0:
        return None
    return _pick(depth, rng, positive=positive, central_share=config.central_share)


def _deep_click(mask: np.ndarray, rng: np.random.Generator, *, positive: bool, central_share: float) -> Click:
    return _pick(_depth(mask), rng, positive=positive, central_share=central_share)


def _depth(mask: np.ndarray) -> np.ndarray:
    """(H, W): distance to the outside of the mask, 0 outside of it."""
    depth = np.zeros(mask.shape)
    found = depth_in_box(mask)
    if found is not None:
        box, inside = found
        depth[box.slices] = inside
    return depth


def _pick(depth: np.ndarray, rng: np.random.Generator, *, positive: bool, central_share: float) -> Click:
    central = rng.random() < central_share
    candidates = np.argwhere(depth == depth.max() if central else depth >= depth.max() / 2)
    y, x = candidates[rng.integers(len(candidates))]
    return Click(int(y), int(x), positive)
