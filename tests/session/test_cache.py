from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from activefreq.session.cache import ByteCache


def test_keeps_what_was_used_last() -> None:
    cache: ByteCache[bytes] = ByteCache(10, len)
    cache.put("a", b"1234")
    cache.put("b", b"1234")
    assert cache.get("a") == b"1234"
    cache.put("c", b"1234")
    assert cache.get("b") is None
    assert cache.get("a") == b"1234"
    assert cache.get("c") == b"1234"


def test_does_not_keep_what_is_larger_than_itself() -> None:
    cache: ByteCache[bytes] = ByteCache(3, len)
    assert cache.put("a", b"1234") == b"1234"
    assert cache.get("a") is None
    assert cache.bytes_held == 0


def test_a_value_that_is_too_large_leaves_no_old_one_behind() -> None:
    cache: ByteCache[bytes] = ByteCache(3, len)
    cache.put("a", b"12")
    cache.put("a", b"1234")
    assert cache.get("a") is None
    assert cache.bytes_held == 0


def test_what_is_dropped_is_forgotten() -> None:
    cache: ByteCache[bytes] = ByteCache(3, len)
    cache.put("a", b"12")
    cache.drop("a")
    cache.drop("b")
    assert cache.get("a") is None
    assert cache.bytes_held == 0


def test_makes_a_value_once() -> None:
    cache: ByteCache[bytes] = ByteCache(10, len)
    made = []

    def make() -> bytes:
        made.append(1)
        return b"1"

    assert cache.get_or_make("a", make) == cache.get_or_make("a", make) == b"1"
    assert len(made) == 1


@given(st.lists(st.tuples(st.integers(0, 5), st.binary(max_size=8)), max_size=40))
def test_never_holds_more_than_its_limit(puts: list[tuple[int, bytes]]) -> None:
    cache: ByteCache[bytes] = ByteCache(16, len)
    for key, value in puts:
        cache.put(key, value)
        assert cache.bytes_held <= 16
        assert cache.get(key) == value


def test_bears_many_threads() -> None:
    cache: ByteCache[bytes] = ByteCache(64, len)
    wrong = []

    def work(seed: int) -> None:
        for step in range(500):
            key = (seed * step) % 20
            if cache.get_or_make(key, lambda key=key: bytes([key]) * 8) != bytes([key]) * 8:
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert cache.bytes_held <= 64
