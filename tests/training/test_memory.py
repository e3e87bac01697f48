from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from trainees import Picture

from activefreq.training.memory import CachedPairs


class Counting:
    """A source that counts what it is asked for, and minds being asked by two threads at once."""

    def __init__(self) -> None:
        self.volume = np.arange(4 * 100, dtype=np.uint8).reshape(4, 10, 10)
        self.asked: list[int] = []
        self.inside = 0

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Picture:
        self.inside += 1
        assert self.inside == 1
        self.asked.append(index)
        self.inside -= 1
        return Picture(self.volume[index], self.volume[index] > 3)


def test_each_pair_is_read_once() -> None:
    source = Counting()
    cached = CachedPairs(source)
    with ThreadPoolExecutor(4) as pool:
        pairs = list(pool.map(cached.__getitem__, [0, 1, 2, 3] * 25))
    assert sorted(source.asked) == [0, 1, 2, 3]
    for number, pair in enumerate(pairs):
        np.testing.assert_array_equal(pair.image, source.volume[number % 4])
        np.testing.assert_array_equal(pair.target, source.volume[number % 4] > 3)


def test_beyond_the_limit_it_reads_again() -> None:
    source = Counting()
    cached = CachedPairs(source, limit=2 * 200)
    for _ in range(2):
        for index in range(4):
            np.testing.assert_array_equal(cached[index].image, source.volume[index])
    assert source.asked == [0, 1, 2, 3, 2, 3]


def test_a_slice_does_not_keep_its_volume() -> None:
    kept = CachedPairs(Counting())[1]
    assert kept.image.base is None
    assert kept.target.base is None
