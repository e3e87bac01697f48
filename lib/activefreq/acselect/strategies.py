"""Strategies: what an unlabelled image is worth to the one who labels next.

A strategy gives every waiting image a value; the one with the highest is next. The app serves images by them (in turns
that are fair, see `turns`), and the simulation of annotation judges them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from activefreq.acselect.ranking import ImageScore
from activefreq.errors import InputError


@dataclass(frozen=True, eq=False)
class Pool:
    """What is known of the N images that wait for a label.

    Attributes:
        scores: N; None for an image that was not scored.
        gains: (N,), how much better the labelled images would stand for all of them with each (`Coverage.gains`); NaN
            where that is not known.
    """

    scores: Sequence[ImageScore | None]
    gains: np.ndarray

    def __post_init__(self) -> None:
        if self.gains.shape != (len(self.scores),):
            raise InputError(f"{len(self.scores)} scores need as many gains, not {self.gains.shape}")


Strategy = Callable[[Pool, np.random.Generator], np.ndarray]
"""The values of the N images of a pool, (N,) float64; NaN where there is none to be had."""


def by_acselect(pool: Pool, generator: np.random.Generator) -> np.ndarray:
    """What the image's label would stand for (`coverage`); where that is known of none, the AcSelect score.

    The score has no say beside the gain: weighted by its rank, it made the choice worse (docs/active_learning.md).
    An image of unknown gain stands in the middle; what could not be scored has no value.
    """
    scores = by_score(pool, generator)
    found = pool.gains[~np.isnan(pool.gains)]
    if not len(found):
        return scores
    gains = np.where(np.isnan(pool.gains), np.median(found), pool.gains)
    return np.where(np.isnan(scores), np.nan, gains)


def by_score(pool: Pool, generator: np.random.Generator) -> np.ndarray:
    """The AcSelect score alone."""
    return np.array([np.nan if one is None else one.acselect for one in pool.scores], np.float64)


def by_entropy(pool: Pool, generator: np.random.Generator) -> np.ndarray:
    """The mean pixel entropy."""
    return np.array([np.nan if one is None else one.entropy for one in pool.scores], np.float64)


def at_random(pool: Pool, generator: np.random.Generator) -> np.ndarray:
    """Any order, each as likely as another."""
    return generator.random(len(pool.scores))


def at_random_with_foreground(pool: Pool, generator: np.random.Generator) -> np.ndarray:
    """Any order of the images in which the model sees an object, then of those not scored, then of the others."""
    classes = [1.0 if one is None else 2.0 if one.foreground > 0 else 0.0 for one in pool.scores]
    return np.array(classes, np.float64) + generator.random(len(pool.scores))


STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        "acselect": by_acselect,
        "acselect_score": by_score,
        "random": at_random,
        "entropy": by_entropy,
        "foreground_random": at_random_with_foreground,
    }
)
