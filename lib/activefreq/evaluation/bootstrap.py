"""How sure a difference between two policies is.

Source: paired percentile bootstrap (Efron and Tibshirani, 1993); whole groups are drawn, because slices of
one patient are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from activefreq.errors import InputError


@dataclass(frozen=True)
class Interval:
    """A mean and the bounds of its 95 % interval; None where there is but one group, which tells no spread."""

    mean: float
    low: float | None
    high: float | None

    @property
    def excludes_zero(self) -> bool:
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:+.2f} [one group]"
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


def bootstrap_mean(values: np.ndarray, groups: Sequence[str], *, resamples: int = 10_000, seed: int = 0) -> Interval:
    """The mean of values per image, with its interval. For two policies give the differences image by image.

    Args:
        values: (N,), N at least 1.
        groups: The group (patient, or the image itself) of each value.
        resamples: Number of bootstrap samples.
        seed: Of the draws; the same seed, values and groups in any order give the same interval.

    Raises:
        InputError: There are no values, or not one group for each.
    """
    values = np.asarray(values, np.float64)
    if values.size == 0 or len(groups) != values.size:
        raise InputError(f"a bootstrap needs values and a group for each: {values.size} and {len(groups)} given")
    distinct, members = np.unique(np.asarray(groups), return_inverse=True)
    if len(distinct) == 1:
        return Interval(float(values.mean()), None, None)
    sums = np.bincount(members, weights=values)
    sizes = np.bincount(members).astype(np.float64)
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    # In blocks: all draws at once would take N x resamples numbers.
    for start in range(0, resamples, 500):
        stop = min(start + 500, resamples)
        drawn = generator.integers(len(sums), size=(stop - start, len(sums)))
        means[start:stop] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high))
