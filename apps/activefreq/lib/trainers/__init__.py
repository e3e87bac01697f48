"""Training tasks by the name under which the clients see them."""

from __future__ import annotations

from monailabel.interfaces.tasks.train import TrainTask

from lib.settings import AppSettings
from lib.trainers.finetuning import FinetuneTask


def make_trainers(settings: AppSettings) -> dict[str, TrainTask]:
    task = FinetuneTask(checkpoint=settings.checkpoint, finetuned=settings.finetuned, device=settings.device)
    return {"activefreq": task}
