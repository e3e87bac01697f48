"""Splits of a data set that keep what belongs together on one side."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

from activefreq.errors import InputError


def split_groups(groups: Sequence[Hashable], fractions: Sequence[float], seed: int) -> list[list[int]]:
    """Splits samples at random into parts, no group in two of them.

    Groups (not samples) are shared out by the fractions, rounded by largest remainders. The split depends on
    the set of groups and on the seed alone, not on the order of the samples or the number of samples of a
    group.

    Args:
        groups: Group of every sample.
        fractions: Share of the groups in each part; at least 0, summing to 1.
        seed: Seed of the shuffling.

    Returns:
        For every part the indices of its samples, ascending. A part is empty where its share is less than a
        group.

    Raises:
        InputError: The fractions are negative or do not sum to 1, or the seed is negative.
    """
    if seed < 0:
        raise InputError(f"the seed must be at least 0, not {seed}")
    if any(not fraction >= 0 for fraction in fractions) or not math.isclose(sum(fractions), 1, abs_tol=1e-6):
        raise InputError(f"the fractions of a split must be at least 0 and sum to 1, not {list(fractions)}")
    names = sorted(set(groups), key=str)
    shuffled = np.random.default_rng(seed).permutation(len(names))
    part_of_group = {}
    start = 0
    for part, count in enumerate(_shares(len(names), fractions)):
        for position in shuffled[start : start + count]:
            part_of_group[names[position]] = part
        start += count
    parts: list[list[int]] = [[] for _ in fractions]
    for index, group in enumerate(groups):
        parts[part_of_group[group]].append(index)
    return parts


def _shares(total: int, fractions: Sequence[float]) -> list[int]:
    """Whole numbers that sum to `total`, each within 1 of its fraction of it."""
    exact = [total * fraction for fraction in fractions]
    counts = [math.floor(value + 1e-9) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda part: (counts[part] - exact[part], part))
    for part in by_remainder[: total - sum(counts)]:
        counts[part] += 1
    return counts
