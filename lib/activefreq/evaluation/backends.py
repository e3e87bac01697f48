"""What answers the clicks of an evaluation: a model in this process, or (`robot.py`) a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from activefreq.clicks import Click


class State(Protocol):
    """What a backend knows after some clicks; never changes."""

    @property
    def clicks(self) -> tuple[Click, ...]: ...

    @property
    def probability(self) -> np.ndarray:
        """(H, W) float32 in [0, 1]."""

    @property
    def mask(self) -> np.ndarray:
        """(H, W) bool."""


class Backend(Protocol):
    """Answers clicks, on several images at once if it can."""

    def open(self, name: str, image: np.ndarray) -> Any:
        """Prepares an image once for all that will happen on it. Raises `InputError` for what is no image."""

    def start(self, image: Any, *, automatic: bool) -> State:
        """The state before the first click: empty, or the model's own mask without any click."""

    def answer(self, requests: Sequence[tuple[Any, State, Click]]) -> list[State]:
        """The states after one more click each, in order."""
