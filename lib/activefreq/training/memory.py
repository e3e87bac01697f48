"""Decoded pairs kept in memory, for the many epochs that ask for them again."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from activefreq.training.batches import Pair, PairSource

DEFAULT_BYTES = 4 << 30


@dataclass(frozen=True, eq=False)
class KeptPair:
    """A pair without the file, or the volume, that it came from."""

    image: np.ndarray
    target: np.ndarray


class CachedPairs:
    """A sequence of pairs that remembers what it has read, up to a limit; may be used from several threads.

    What came first stays: every epoch asks for each pair once, in an order of its own, so that throwing the oldest
    one out would only throw out one that is asked for again as soon as any other.

    Args:
        source: Is asked by one thread at a time.
        limit: Bytes of pixels that are kept.
    """

    def __init__(self, source: PairSource, *, limit: int = DEFAULT_BYTES) -> None:
        self._source = source
        self._free = limit
        self._kept: dict[int, Pair] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Pair:
        with self._lock:
            if index in self._kept:
                return self._kept[index]
            pair = self._source[index]
            size = pair.image.nbytes + pair.target.nbytes
            if size > self._free:
                return pair
            self._free -= size
            # Copied, because a slice would keep its whole volume.
            kept = self._kept[index] = KeptPair(pair.image.copy(), pair.target.copy())
            return kept
