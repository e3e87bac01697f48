"""What makes a mislabeled region worth a click: MPE, APE, RGU, region score (paper section 3.1, eqs. 1-6).

Every score of every region comes from a few passes over the mislabeled pixels; no loop over regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from activefreq.acselect.entropy import binary_entropy
from activefreq.acselect.regions import Regions
from activefreq.errors import InputError

RGU_READINGS = ("consistency", "inconsistency")
SIZE_TERMS = ("none", "linear", "sqrt", "log")


@dataclass(frozen=True, eq=False)
class RegionScores:
    """The measures of N regions, each an (N,) float64 array.

    Attributes:
        mpe: Maximum pixel entropy (eq. 1), nats.
        ape: Average pixel entropy (eq. 2), nats.
        deviation: |p* - p_mean| (eqs. 3-5) in [0, 1], p* being the probability of the most wrong pixel: the
            least of a missed region, the greatest of an excess one.
        wrongness: Mean probability that the model gave to the wrong class, in [0, 1].
        area: Pixels.
    """

    mpe: np.ndarray
    ape: np.ndarray
    deviation: np.ndarray
    wrongness: np.ndarray
    area: np.ndarray


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """How the measures of a region become its score.

    The paper leaves the weights open, describes RGU both as a consistency and as an inconsistency, and names
    size as a property of an informative region without a term for it; hence the options.

    Attributes:
        alpha: Weight of MPE, at least 0.
        beta: Weight of APE, at least 0.
        gamma: Weight of RGU, at least 0.
        rgu: "consistency" scores 1 - |p* - p_mean|, "inconsistency" scores |p* - p_mean|.
        size: What the weighted sum is multiplied by: "none" 1, "linear" the pixels n, "sqrt" their square root, "log"
            log(1 + n).
    """

    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 1.0
    rgu: str = "consistency"
    size: str = "linear"

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma"):
            weight = getattr(self, name)
            if not (isinstance(weight, (int, float)) and 0 <= weight < np.inf):
                raise InputError(f"AcSelect {name} must be a number of at least 0, not {weight!r}")
        if self.rgu not in RGU_READINGS:
            raise InputError(f"AcSelect rgu must be one of {', '.join(RGU_READINGS)}, not {self.rgu!r}")
        if self.size not in SIZE_TERMS:
            raise InputError(f"AcSelect size must be one of {', '.join(SIZE_TERMS)}, not {self.size!r}")


def measure_regions(probability: np.ndarray, regions: Regions, *, entropy: np.ndarray | None = None) -> RegionScores:
    """Measures all regions of an image, in time linear in its pixels.

    Args:
        probability: (H, W) foreground probability in [0, 1].
        regions: Of the same image.
        entropy: (H, W), of every pixel, if it is not that of the classes (1 - p, p): with more classes
            `categorical_entropy`.

    Raises:
        InputError: The probability does not have the shape of the image, or leaves [0, 1].
    """
    if probability.shape != regions.labels.shape:
        raise InputError(f"probability has shape {probability.shape}, but the image {regions.labels.shape}")
    if entropy is not None and entropy.shape != probability.shape:
        raise InputError(f"entropy has shape {entropy.shape}, but the image {probability.shape}")
    flat, numbers = regions.pixels()
    p = np.asarray(probability).ravel()[flat].astype(np.float64)
    h = binary_entropy(p) if entropy is None else np.asarray(entropy, np.float64).ravel()[flat]
    wrong = np.where(regions.positive[numbers], 1.0 - p, p)
    wrongness = region_mean(wrong, numbers, regions.areas)
    return RegionScores(
        mpe=_region_maximum(h, numbers, len(regions)),
        ape=region_mean(h, numbers, regions.areas),
        # |p* - p_mean| is the same whether the probability is that of the foreground or that of the wrong
        # class.
        deviation=np.abs(_region_maximum(wrong, numbers, len(regions)) - wrongness),
        wrongness=wrongness,
        area=regions.areas.astype(np.float64),
    )


def region_score(scores: RegionScores, config: ScoreConfig) -> np.ndarray:
    """The region score RS (eq. 6) times the size term: (N,) float64, at least 0, the highest is clicked."""
    rgu = 1.0 - scores.deviation if config.rgu == "consistency" else scores.deviation
    weighted = config.alpha * scores.mpe + config.beta * scores.ape + config.gamma * rgu
    return weighted * size_term(scores.area, config.size)


def size_term(area: np.ndarray, size: str) -> np.ndarray:
    """The factor by which a region's area of n pixels enters its score; see `ScoreConfig.size`."""
    if size == "none":
        return np.ones_like(area)
    if size == "linear":
        return area
    return np.sqrt(area) if size == "sqrt" else np.log1p(area)


def region_mean(values: np.ndarray, numbers: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Mean of the pixels' `values` over each region; `numbers` as of `Regions.pixels`."""
    return np.bincount(numbers, weights=values, minlength=len(areas)) / areas


def _region_maximum(values: np.ndarray, numbers: np.ndarray, count: int) -> np.ndarray:
    maximum = np.full(count, -np.inf)
    np.maximum.at(maximum, numbers, values)
    return maximum
