"""A backend and images for tests: answers are computed by rule, in no time and without a network."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from activefreq.clicks import Click
from activefreq.data.pairs import Problem
from activefreq.data.samples import Sample
from activefreq.errors import InputError
from activefreq.session.state import SessionState, prepare_image


@dataclass
class FakeSource:
    """Blobs of a size that depends on the index; those in `broken` cannot be read."""

    problems = (Problem("also.png", "has no label"),)
    count: int = 6
    broken: tuple[int, ...] = ()

    @property
    def names(self) -> list[str]:
        return [f"image{index:02d}" for index in range(self.count)]

    def __getitem__(self, index: int) -> Sample:
        if index in self.broken:
            raise InputError(f"image{index:02d}.png: not an image")
        y, x = np.mgrid[:40, :48]
        target = (y - 16) ** 2 + (x - 20 - index) ** 2 <= (6 + index) ** 2
        target |= (abs(y - 34) <= 2) & (abs(x - 40) <= 3)
        image = np.where(target, 200, 60).astype(np.uint8)
        return Sample(self.names[index], image, target, f"patient{index // 2}")


class FakeBackend:
    """Paints a square of the click's sign around it; remembers how it was asked."""

    def __init__(self, radius: int = 5) -> None:
        self.radius = radius
        self.batches: list[int] = []

    def open(self, name, image):
        return prepare_image(image)

    def start(self, image, *, automatic):
        state = SessionState.start(image.shape)
        if not automatic:
            return state
        return dataclasses.replace(state, probability=np.where(image.rgb[..., 0] > 0.5, 0.75, 0.25).astype(np.float32))

    def answer(self, requests):
        self.batches.append(len(requests))
        return [self._answer(state, click) for _, state, click in requests]

    def _answer(self, state: SessionState, click: Click) -> SessionState:
        probability = state.probability.copy()
        rows = slice(max(click.y - self.radius, 0), click.y + self.radius + 1)
        columns = slice(max(click.x - self.radius, 0), click.x + self.radius + 1)
        probability[rows, columns] = 0.9 if click.positive else 0.1
        return dataclasses.replace(state, clicks=(*state.clicks, click), probability=probability)
