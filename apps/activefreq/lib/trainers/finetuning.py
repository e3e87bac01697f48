"""Fine-tuning of the served model on the labels that people have submitted."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask

from activefreq.data.discovery import samples_of_pairs
from activefreq.data.pairs import Pair, image_name
from activefreq.data.samples import SampleSource
from activefreq.errors import InputError
from activefreq.models.checkpoint import load_checkpoint
from activefreq.training.finetune import FinetuneProgress, finetune
from lib.answers import http_errors
from lib.served_checkpoint import finetuned_path, served_path
from lib.trainers.tracking import tracked
from lib.trainers.train_request import TrainRequest
from lib.trainers.train_stats import StatsFile, TrainReport

logger = logging.getLogger(__name__)

STATS_NAME = "train_stats.json"


class FinetuneTask(TrainTask):
    """Makes the served model better on the images at hand, or leaves it as it is.

    MONAI Label runs it in a process of its own and stops it by killing that process. Nothing is published before it has
    proved itself, and what is published appears whole, so that it can be killed at any moment.

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

    def config(self) -> dict[str, Any]:
        return TrainRequest.offered()

    def stats(self) -> dict[str, Any]:
        return self._stats.read()

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Runs one fine-tuning and returns its figures, see `TrainReport`.

        Raises:
            HTTPException: 422 without a usable label or for a value that cannot be used, 503 without a usable
                checkpoint, 507 without room.
        """
        with http_errors():
            wish = TrainRequest.parse(request, device=self._device)
            samples = labelled_samples(datastore)
            path = served_path(self._checkpoint, self._finetuned)
            logger.info("Fine-tuning %s on %d samples: %s", path, len(samples), wish)
            checkpoint = load_checkpoint(path)
            problems = [str(problem) for problem in samples.problems]
            for problem in problems:
                logger.warning("Left out %s", problem)
            report = TrainReport(self._stats, epochs=wish.finetuning.epochs, problems=problems)
            with tracked(wish, self._finetuned) as track:

                def follow(progress: FinetuneProgress) -> None:
                    report.follow(progress)
                    track(progress)

                result = finetune(
                    checkpoint,
                    samples,
                    wish.finetuning,
                    publish=finetuned_path(self._checkpoint, self._finetuned),
                    device=wish.device,
                    listener=follow,
                )
            return report.finish(result)


def labelled_samples(datastore: Datastore) -> SampleSource:
    """All images and slices with a submitted label that is not empty. Raises `InputError` if there are none."""
    pairs = []
    for item in datastore.datalist():
        image = Path(item["image"])
        pairs.append(Pair(image_name(image), image, Path(item["label"])))
    if not pairs:
        raise InputError("no image has a submitted label yet: there is nothing to train on")
    return samples_of_pairs(pairs).verified()
