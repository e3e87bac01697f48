"""A cache that is bounded in bytes and shared by threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from cachetools import LRUCache

T = TypeVar("T")

ENTRY_BYTES = 4096
"""To be counted for each entry on top of its pixels: its key and its objects, which are what many tiny entries take."""


class ByteCache(Generic[T]):
    """Keeps what was used last, as much as fits.

    Args:
        limit: Bytes, counted by `size`. A value larger than that is not kept.
        size: Gives a value's bytes.
    """

    def __init__(self, limit: int, size: Callable[[T], int]) -> None:
        self._size = size
        self._values: LRUCache[Hashable, T] = LRUCache(limit, size)
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> T | None:
        """The value, which counts as used now, or None."""
        with self._lock:
            return self._values.get(key)

    def put(self, key: Hashable, value: T) -> T:
        """Keeps a value in place of the key's former one and of what was used least recently, and returns it."""
        with self._lock:
            self._values.pop(key, None)
            if self._size(value) <= self._values.maxsize:
                self._values[key] = value
        return value

    def drop(self, key: Hashable) -> None:
        """Forgets a value, if there is one."""
        with self._lock:
            self._values.pop(key, None)

    def get_or_make(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value kept, or a new one. Two threads may make the same one at a time; neither waits for the other."""
        value = self.get(key)
        return self.put(key, make()) if value is None else value

    def __len__(self) -> int:
        """How many values are kept."""
        with self._lock:
            return len(self._values)

    @property
    def bytes_held(self) -> int:
        """What the values in the cache take."""
        with self._lock:
            return int(self._values.currsize)
