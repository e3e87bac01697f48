from __future__ import annotations

import threading
import time

from lib.settled import Settled


def test_events_that_come_together_are_one() -> None:
    ran = threading.Semaphore(0)
    settled = Settled(ran.release, quiet=0.2, most=60.0)
    for _ in range(2):
        for _ in range(50):
            settled.note()
        assert ran.acquire(timeout=60)
        assert not ran.acquire(timeout=0.5)


def test_events_without_an_end_are_not_waited_for() -> None:
    ran = threading.Event()
    settled = Settled(ran.set, quiet=30.0, most=0.2)
    deadline = time.monotonic() + 20
    while not ran.is_set():
        assert time.monotonic() < deadline
        settled.note()
        time.sleep(0.01)


def test_events_meanwhile_are_another_run_after_the_present_one() -> None:
    begun, end = threading.Semaphore(0), threading.Semaphore(0)
    at_once: list[int] = []
    running = []

    def act() -> None:
        running.append(1)
        at_once.append(len(running))
        begun.release()
        assert end.acquire(timeout=60)
        running.pop()

    settled = Settled(act, quiet=0.01, most=0.02)
    settled.note()
    assert begun.acquire(timeout=60)
    settled.note()
    assert not begun.acquire(timeout=0.2)
    end.release()
    assert begun.acquire(timeout=60)
    end.release()
    assert at_once == [1, 1]
