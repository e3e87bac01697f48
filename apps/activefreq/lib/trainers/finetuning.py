"""Fine-tuning of the served model on the labels that people have submitted."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from filelock import FileLock, Timeout
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.train import TrainTask

from activefreq.data.discovery import samples_of_pairs
from activefreq.data.pairs import Pair, Problem, image_name
from activefreq.data.samples import SampleSource
from activefreq.errors import InputError
from activefreq.models.checkpoint import load_checkpoint
from activefreq.training.finetune import FinetuneProgress, finetune
from activefreq.training.finetune_processes import finetune_together
from lib.answers import http_errors
from lib.background import is_orphaned
from lib.served_checkpoint import finetuned_path, served_path
from lib.suggested_segments import label_values, names_suggestions, suggested_values
from lib.trainers.tracking import tracked
from lib.trainers.train_request import TrainRequest
from lib.trainers.train_stats import ENDED_EARLY, RUNNING, StatsFile, TrainReport

logger = logging.getLogger(__name__)

STATS_NAME = "train_stats.json"
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
            samples = labelled_samples(datastore)
            stack.callback(self._alone().release)
            problems = [str(problem) for problem in samples.problems]
            for problem in problems:
                logger.warning("Left out %s", problem)
            report = TrainReport(self._stats, epochs=wish.finetuning.epochs, problems=problems, remark=wish.remark)
            with report.of_failures(), tracked(wish, self._finetuned) as track:
                path = served_path(self._checkpoint, self._finetuned)
                logger.info("Fine-tuning %s on %d samples: %s", path, len(samples), wish)
                tune = functools.partial(finetune, device=wish.devices[0])
                if len(wish.devices) > 1:
                    tune = functools.partial(finetune_together, devices=wish.devices)

                def follow(progress: FinetuneProgress) -> None:
                    report.follow(progress)
                    track(progress)

                result = tune(
                    load_checkpoint(path),
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


def labelled_samples(datastore: Datastore) -> SampleSource:
    """All images and slices with a submitted label that is not empty, without regions that were only suggested.

    Raises:
        InputError: There are none.
    """
    pairs, problems = [], []
    for item in datastore.datalist():
        image, label = Path(item["image"]), Path(item["label"])
        name = image_name(image)
        suggested = _suggested(datastore, label)
        if suggested:
            reason = (
                f"the voxels of {' and '.join(sorted(suggested))}: remove these segments and submit the label again"
            )
            problems.append(Problem(name, reason))
        pairs.append(Pair(name, image, label, background=frozenset(suggested.values())))
    if not pairs:
        raise InputError("no image has a submitted label yet: there is nothing to train on")
    return samples_of_pairs(pairs, problems=problems).verified()


def _suggested(datastore: Datastore, label: Path) -> dict[str, int]:
    """Values, by name, of suggestions in a label that was saved before such were refused, or came in another way."""
    # Labels are named as their images are in the datastore; the image's own file may be a link to another name.
    info = datastore.get_label_info(image_name(label), DefaultLabelTag.FINAL.value)
    if not names_suggestions(info):
        return {}
    try:
        return suggested_values(info, label_values(label))
    except InputError:
        return {}  # told when the label is read to be learned
