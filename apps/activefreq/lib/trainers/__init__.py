"""Training tasks by name."""

from __future__ import annotations

from monailabel.interfaces.tasks.train import TrainTask


def make_trainers() -> dict[str, TrainTask]:
    return {}
