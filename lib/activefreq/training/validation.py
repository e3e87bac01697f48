"""Validation through the click session: what is measured is what people get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from activefreq.acselect.clicker import standard_click
from activefreq.models.config import SessionConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.session.state import SessionState, prepare_image
from activefreq.session.step import step
from activefreq.training.batches import Pair, PairSource


@dataclass(frozen=True)
class ValidationResult:
    """mIoU@k for k = 1, 2, ... clicks of the standard clicker, and the number of images."""

    miou: tuple[float, ...]
    images: int

    @property
    def score(self) -> float:
        """Mean of mIoU@k over all k: one number to compare checkpoints by."""
        return float(np.mean(self.miou))


def validate(
    model: InteractiveModel,
    pairs: PairSource,
    *,
    clicks: int,
    limit: int | None = None,
    config: SessionConfig = SessionConfig(),
    batch_size: int = 8,
) -> ValidationResult:
    """Clicks on at most `limit` pairs, spread evenly, with the standard clicker.

    An image whose mask has become perfect keeps its IoU of one.
    """
    indices = np.arange(len(pairs))
    if limit is not None and limit < len(pairs):
        indices = np.unique(np.linspace(0, len(pairs) - 1, limit).round().astype(int))
    training = model.training
    model.eval()
    try:
        rows = []
        for first in range(0, len(indices), batch_size):
            rows += _click([pairs[int(index)] for index in indices[first : first + batch_size]], model, clicks, config)
    finally:
        model.train(training)
    return ValidationResult(tuple(float(value) for value in np.mean(rows, axis=0)), len(indices))


def _click(pairs: Sequence[Pair], model: InteractiveModel, clicks: int, config: SessionConfig) -> list[list[float]]:
    images = [prepare_image(pair.image) for pair in pairs]
    states = [SessionState.start(image.shape) for image in images]
    clicked = [np.zeros(image.shape, bool) for image in images]
    curves: list[list[float]] = [[] for _ in pairs]
    for _ in range(clicks):
        requests, open_ones = [], []
        for index, pair in enumerate(pairs):
            click = standard_click(states[index].mask, pair.target, clicked[index])
            if click is not None:
                clicked[index][click.y, click.x] = True
                requests.append((images[index], states[index], click))
                open_ones.append(index)
        for index, state in zip(open_ones, step(model, requests, config), strict=True):
            states[index] = state
        for index, pair in enumerate(pairs):
            union = (states[index].mask | pair.target).sum()
            curves[index].append(float((states[index].mask & pair.target).sum() / union) if union else 1.0)
    return curves
