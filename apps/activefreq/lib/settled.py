"""One action for many events that come close together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Settled:
    """Runs an action once events have ceased for a while, and now and then while they go on; never twice at a time.

    Args:
        action: Runs in a thread of its own; is to raise nothing.
        quiet: How many seconds without an event it waits for.
        most: How many seconds an event waits at most, unless the action still runs.
    """

    def __init__(self, action: Callable[[], None], *, quiet: float, most: float) -> None:
        self._action = action
        self._quiet = quiet
        self._most = most
        self._lock = threading.Lock()
        self._runs = False
        self._first: float | None = None
        self._last = 0.0

    def note(self) -> None:
        """Takes note of an event."""
        with self._lock:
            self._last = time.monotonic()
            if self._first is None:
                self._first = self._last
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while (wait := self._wait()) is not None:
            if wait > 0:
                time.sleep(wait)
            else:
                self._action()

    def _wait(self) -> float | None:
        """For how long; 0 if it is time, and then the events are done with; None if there are none."""
        with self._lock:
            if self._first is None:
                self._runs = False
                return None
            wait = min(self._last + self._quiet, self._first + self._most) - time.monotonic()
            if wait <= 0:
                self._first = None
            return max(wait, 0.0)
