"""Strategies: what an unlabelled image is worth to the one who labels next, from its scores alone.

A strategy gives every waiting image a value; the one with the highest is next. The app serves images by them (in turns
that are fair, see `turns`), and the simulation of annotation judges them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from activefreq.acselect.ranking import ImageScore

Strategy = Callable[[Sequence[ImageScore | None], np.random.Generator], np.ndarray]
"""The values of N images from their scores (None: not scored), (N,) float64; NaN where there is none to be had."""


def by_acselect(scores: Sequence[ImageScore | None], generator: np.random.Generator) -> np.ndarray:
    """The AcSelect score."""
    return np.array([np.nan if one is None else one.acselect for one in scores], np.float64)


def by_acselect_draw(scores: Sequence[ImageScore | None], generator: np.random.Generator) -> np.ndarray:
    """A random order in which images are drawn, without replacement, in proportion to their AcSelect score.

    The images with the very highest scores are often alike, and often freaks; drawn ones are diverse.

    Source: Kirsch et al., Stochastic Batch Acquisition (arXiv 2106.12059), power acquisition with coldness 1.
    """
    with np.errstate(divide="ignore"):
        return np.log(by_acselect(scores, generator)) + generator.gumbel(size=len(scores))


def by_entropy(scores: Sequence[ImageScore | None], generator: np.random.Generator) -> np.ndarray:
    """The mean pixel entropy."""
    return np.array([np.nan if one is None else one.entropy for one in scores], np.float64)


def at_random(scores: Sequence[ImageScore | None], generator: np.random.Generator) -> np.ndarray:
    """Any order, each as likely as another."""
    return generator.random(len(scores))


def at_random_with_foreground(scores: Sequence[ImageScore | None], generator: np.random.Generator) -> np.ndarray:
    """Any order of the images in which the model sees an object, then of those not scored, then of the others."""
    classes = [1.0 if one is None else 2.0 if one.foreground > 0 else 0.0 for one in scores]
    return np.array(classes, np.float64) + generator.random(len(scores))


STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        "acselect": by_acselect,
        "acselect_draw": by_acselect_draw,
        "random": at_random,
        "entropy": by_entropy,
        "foreground_random": at_random_with_foreground,
    }
)
