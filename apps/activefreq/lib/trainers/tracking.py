"""Figures of a fine-tuning to MLflow, for those who ask for it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from activefreq.training.finetune import FinetuneProgress
from lib.trainers.train_request import MLFLOW, TrainRequest

logger = logging.getLogger(__name__)

Listener = Callable[[FinetuneProgress], None]


@contextlib.contextmanager
def tracked(request: TrainRequest, folder: Path) -> Iterator[Listener]:
    """Within the block there is an MLflow run, if one was asked for, to which the listener writes.

    That it cannot begin is an error; what cannot be written later is told in the log.

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

    run = mlflow.start_run()
    mlflow.log_params(asdict(request.finetuning))
    ending = "FAILED"
    try:
        yield lambda progress: _or_warn(lambda: follow(progress))
        ending = "FINISHED"
    finally:
        _or_warn(lambda: mlflow.end_run(ending))
        logger.info("MLflow has this fine-tuning as run %s", run.info.run_id)


def _or_warn(log: Callable[[], object]) -> None:
    """A tracking server that does not answer for a while is no reason to lose a fine-tuning."""
    try:
        log()
    except Exception as error:  # whatever its client raises
        logger.warning("MLflow was not told: %s", error)
