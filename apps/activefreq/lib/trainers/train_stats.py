"""The figures of a fine-tuning, in the file from which the server tells them to its clients."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from activefreq.files.atomic import write_json
from activefreq.training.finetune import FinetuneProgress, FinetuneResult
from activefreq.training.validation import ValidationResult

logger = logging.getLogger(__name__)

RUNNING, ENDED_EARLY = "running", "ended early"


class StatsFile:
    """A JSON file of figures that is replaced whole, and never holds NaN.

    A NaN in it would make every answer to `/info/` an error, so that no client could connect any more.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Any]:
        """The figures; empty where there are none, or none that can be used."""
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"), parse_constant=_refuse)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            logger.warning("%s is not told to the clients: %s", self._path, error)
            return {}
        return content if isinstance(content, dict) else {}

    def write(self, figures: Mapping[str, Any]) -> None:
        """Replaces the figures; numbers that are none become null."""
        write_json(self._path, _finite(figures))


class TrainReport:
    """Writes down how a fine-tuning goes, in the names that 3D Slicer's progress and accuracy bars read.

    These are `epoch`, `total_epochs`, `best_metric` (here the mean IoU over the clicks of a validation), and, when it
    is over, `total_time`. Beside them, `state` is "running", "done" or "failed" (then `error` says why), and
    `published` whether weights of this fine-tuning are served.

    Args:
        file: Where to.
        epochs: That are planned.
        problems: Labels that were left out, and why.
        remark: What was asked for and is not done.
    """

    def __init__(self, file: StatsFile, *, epochs: int, problems: list[str], remark: str = "") -> None:
        self._file = file
        self._start = time.time()
        self._figures: dict[str, Any] = {
            "start_ts": int(self._start),
            "epoch": 0,
            "total_epochs": epochs,
            "best_metric": 0.0,
            "state": RUNNING,
            "published": False,
            "problems": problems,
        }
        if remark:
            self._figures["remark"] = remark
        self._file.write(self._figures)

    @property
    def published(self) -> bool:
        """Whether weights of this fine-tuning are served, as far as the report was told."""
        return bool(self._figures["published"])

    def follow(self, progress: FinetuneProgress) -> None:
        """Writes the figures of a step after which the model was validated; passes over the others."""
        if progress.validation is None:
            return
        best = max(self._figures["best_metric"], progress.validation.score)
        self._figures.update(
            epoch=progress.epoch,
            current_time=self._time(),
            best_metric=best,
            published=progress.published,
            train={"loss": progress.loss},
            eval=_described(progress.validation),
        )
        self._file.write(self._figures)
        logger.info(
            "Epoch %d of %d: loss %.4f, mean IoU after 1 click %.4f, after %d clicks %.4f",
            progress.epoch,
            self._figures["total_epochs"],
            progress.loss,
            progress.validation.miou[0],
            len(progress.validation.miou),
            progress.validation.miou[-1],
        )

    def finish(self, result: FinetuneResult) -> dict[str, Any]:
        """Writes what came of it, and returns all figures."""
        served = result.best if result.published and result.best is not None else result.before
        self._figures.pop("current_time", None)
        self._figures.update(
            epoch=result.epochs,
            total_time=self._time(),
            best_metric=served.score,
            state="done",
            published=result.published,
            finetuning=result.stats(),
        )
        self._file.write(self._figures)
        logger.info("%s: %s", "Published" if result.published else "Not published", result.reason)
        return self._file.read()

    @contextlib.contextmanager
    def of_failures(self) -> Iterator[None]:
        """Within the block, what is raised is written down and raised on."""
        try:
            yield
        except BaseException as error:
            self._figures.update(state="failed", error=_described_error(error))
            try:
                self._file.write(self._figures)
            except OSError as trouble:
                logger.error("The figures of the training could not be written: %s", trouble)
            raise

    def _time(self) -> str:
        return str(datetime.timedelta(seconds=int(time.time() - self._start)))


def _described(validation: ValidationResult) -> dict[str, Any]:
    return {f"miou@{clicks}": round(value, 4) for clicks, value in enumerate(validation.miou, start=1)} | {
        "images": validation.images
    }


def _described_error(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # without the path that follows, which is the server's to know
    return str(error) or type(error).__name__


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _refuse(constant: str) -> None:
    raise ValueError(f"it holds {constant}")
