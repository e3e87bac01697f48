"""Fine-tuning of the served model on the labels that people have submitted."""

from __future__ import annotations

import contextlib
import functools
import logging
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from filelock import FileLock, Timeout
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask

from activefreq.models.checkpoint import load_checkpoint
from activefreq.training.finetune import FinetuneProgress, finetune
from activefreq.training.finetune_processes import finetune_together
from lib.answers import all_called, called, http_errors, is_full_disk
from lib.background import is_orphaned
from lib.served_checkpoint import finetuned_path, served_path
from lib.trainers.submitted import file_names, labelled_samples
from lib.trainers.tracking import tracked
from lib.trainers.train_request import TrainRequest
from lib.trainers.train_stats import ENDED_EARLY, RUNNING, StatsFile, TrainReport

logger = logging.getLogger(__name__)

STATS_NAME = "train_stats.json"
LABELS = ".labels-"
"""How folders begin that keep labels as they were when a training began."""
WAIT_SECONDS = 60.0


class FinetuneTask(TrainTask):
    """Makes the served model better on the images at hand, or leaves it as it is.

    MONAI Label runs it in a process of its own and stops it by killing that process. Weights are published as soon as
    they have proved themselves, and appear whole: it can be killed at any moment, and the best ones so far stay.

    Args:
        checkpoint: The configured checkpoint: a path, or the name of one that ships.
        finetuned: Folder for fine-tuned checkpoints and their figures.
        device: Where to train when a request does not say: auto, cpu, cuda or cuda:N.
    """

    def __init__(self, *, checkpoint: str, finetuned: Path, device: str) -> None:
        super().__init__("Fine-tunes ActiveFreq on the submitted labels; publishes what did not get worse")
        self._checkpoint = checkpoint
        self._finetuned = finetuned
        self._device = device
        self._stats = StatsFile(finetuned / STATS_NAME)
        # The system lets go of it when the process that holds it ends, however it ends.
        self._lock_path = finetuned / "training.lock"
        self._looking = threading.Lock()

    def config(self) -> dict[str, Any]:
        return TrainRequest.offered(self._device)

    def stats(self) -> dict[str, Any]:
        """The figures of the last fine-tuning, see `TrainReport`; one that was stopped, or died, "ended early"."""
        figures = self._stats.read()
        if figures.get("state") == RUNNING and not self._is_running():
            figures["state"] = ENDED_EARLY
        return figures

    def _is_running(self) -> bool:
        try:
            # One at a time: two requests that look at once would take each other for a training.
            with self._looking, FileLock(self._lock_path, timeout=0):
                return False
        except Timeout:
            return True

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Runs one fine-tuning and returns its figures, see `TrainReport`.

        Raises:
            HTTPException: 409 while another process trains, 422 without a usable label or for a value that cannot be
                used, 503 without a usable checkpoint, 507 without room.
        """
        with http_errors(), contextlib.ExitStack() as stack:
            wish = TrainRequest.parse(request, device=self._device)
            stack.callback(self._alone().release)
            samples = labelled_samples(datastore, stack.enter_context(self._place_for_labels()))
            problems = [str(problem) for problem in samples.problems]
            for problem in problems:
                logger.warning("Left out %s", problem)
            report = TrainReport(self._stats, epochs=wish.finetuning.epochs, problems=problems, remark=wish.remark)
            with _published_before(report), report.of_failures(), all_called(file_names(samples)):
                with tracked(wish, self._finetuned) as track:
                    path = served_path(self._checkpoint, self._finetuned)
                    logger.info("Fine-tuning %s on %d samples: %s", path, len(samples), wish)
                    with called(path, path.name):
                        checkpoint = load_checkpoint(path)
                    tune = functools.partial(finetune, device=wish.devices[0])
                    if len(wish.devices) > 1:
                        tune = functools.partial(finetune_together, devices=wish.devices)

                    def follow(progress: FinetuneProgress) -> None:
                        report.follow(progress)
                        track(progress)

                    result = tune(
                        checkpoint,
                        samples,
                        wish.finetuning,
                        publish=finetuned_path(self._checkpoint, self._finetuned),
                        listener=follow,
                        stop=is_orphaned,
                    )
                return report.finish(result)

    def _alone(self) -> FileLock:
        """Held until it is released, so that no other process trains; one that a dead server left is waited for."""
        self._finetuned.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._lock_path)
        try:
            lock.acquire(timeout=WAIT_SECONDS)
        except Timeout as error:
            raise HTTPException(409, "another training of this model is under way") from error
        return lock

    @contextlib.contextmanager
    def _place_for_labels(self) -> Iterator[Path]:
        """A folder for the time of a training, for which nobody else trains; removes what a killed one has left."""
        for pattern in (f"{LABELS}*", ".writing-*"):
            for left in self._finetuned.glob(pattern):
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=LABELS, dir=self._finetuned, ignore_cleanup_errors=True) as folder:
            yield Path(folder)


@contextlib.contextmanager
def _published_before(report: TrainReport) -> Iterator[None]:
    """Within the block, a full disk is not told as one that has changed nothing if weights are published already."""
    try:
        yield
    except OSError as error:
        if not (report.published and is_full_disk(error)):
            raise
        reason = "the server's disk is full; weights that this training published before are served"
        raise HTTPException(507, reason) from error
