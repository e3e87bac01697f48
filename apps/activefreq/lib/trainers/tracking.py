"""Figures of a fine-tuning to MLflow, for those who ask for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from activefreq.training.finetune import FinetuneProgress
from lib.trainers.train_request import MLFLOW, TrainRequest

Listener = Callable[[FinetuneProgress], None]


@contextlib.contextmanager
def tracked(request: TrainRequest, folder: Path) -> Iterator[Listener]:
    """Within the block there is an MLflow run, if one was asked for, to which the listener writes.

    Args:
        request: Says whether, and where to.
        folder: Where the runs are kept if the request does not say: a database file, because MLflow 3 refuses to write
            to plain folders.
    """
    if request.tracking != MLFLOW:
        yield lambda _: None
        return
    import mlflow  # takes seconds to import

    folder.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(request.tracking_uri or f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.set_experiment(request.tracking_experiment or "activefreq")

    def follow(progress: FinetuneProgress) -> None:
        mlflow.log_metric("loss", progress.loss, step=progress.step)
        if progress.validation is not None:
            for clicks, value in enumerate(progress.validation.miou, start=1):
                mlflow.log_metric(f"miou_{clicks}", value, step=progress.step)

    with mlflow.start_run():
        mlflow.log_params(asdict(request.finetuning))
        yield follow
