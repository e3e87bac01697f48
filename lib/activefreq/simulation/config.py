"""The rules of a simulation."""

from __future__ import annotations

import math
from dataclasses import dataclass

from activefreq.errors import InputError


@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """What is done in every round of every strategy.

    Attributes:
        initial: Images that are labelled before the first training; drawn at random, the same for all strategies.
        per_round: Images that a strategy chooses after a training.
        steps: Optimizer steps of a training, which always begins with the same weights.
        batch_size: Views in a step.
        learning_rate: Peak of the rate.
        size: Side in pixels of the square that the network sees.
        target_iou: The annotator is content with a mask of this IoU, in (0, 1].
        max_clicks: And gives up after so many clicks.
        test_clicks: Clicks on every image of the test part.
    """

    initial: int = 8
    per_round: int = 8
    steps: int = 100
    batch_size: int = 8
    learning_rate: float = 5e-4
    size: int = 128
    target_iou: float = 0.9
    max_clicks: int = 10
    test_clicks: int = 5

    def __post_init__(self) -> None:
        for name in ("initial", "per_round", "steps", "batch_size", "max_clicks", "test_clicks"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.size < 32 or self.size % 32:
            raise InputError(f"size must be a multiple of 32, not {self.size}")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise InputError(f"learning_rate must be a positive number, not {self.learning_rate}")
        if not 0 < self.target_iou <= 1:
            raise InputError(f"target_iou must be above 0 and at most 1, not {self.target_iou}")

    def labelled(self, round_: int) -> int:
        """Images with a label in a round, counted from 0."""
        return self.initial + round_ * self.per_round
