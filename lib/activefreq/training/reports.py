"""What a training tells while it runs: a bar, metrics.csv, TensorBoard. Each is a listener of `engine.TrainingRun`."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from activefreq.files.atomic import atomic_write
from activefreq.training.config import TrainingConfig
from activefreq.training.engine import Progress

LOSSES = ("total", "coarse", "refined", "detail")


class ProgressBar:
    """A bar with loss, mIoU after the first and the last validation click, images a second, and the time left."""

    def __init__(self, config: TrainingConfig, *, start: int) -> None:
        # To a file, now and then a line is enough.
        self._bar = tqdm(total=config.steps, initial=start, unit="step", mininterval=1, dynamic_ncols=True)
        if not self._bar.fp.isatty():
            self._bar.mininterval = 60
        self._batch_size = config.batch_size
        self._shown: dict[str, str] = {}
        self._loss = math.nan

    def __call__(self, progress: Progress) -> None:
        loss = progress.losses.total
        self._loss = loss if math.isnan(self._loss) else 0.95 * self._loss + 0.05 * loss
        rate = self._bar.format_dict["rate"]
        self._shown["loss"] = f"{self._loss:.4f}"
        if progress.validation is not None:
            miou = progress.validation.miou
            self._shown["mIoU@1"] = f"{miou[0]:.4f}"
            self._shown[f"mIoU@{len(miou)}"] = f"{miou[-1]:.4f}"
        if rate:
            self._shown["images/s"] = f"{rate * self._batch_size:.1f}"
        self._bar.set_postfix(self._shown, refresh=False)
        self._bar.update()

    def close(self) -> None:
        self._bar.close()


class MetricsFile:
    """metrics.csv: a line a step. Holds no times, so that a resumed training writes the same file.

    Args:
        path: The file; lines after step `start` are dropped, as those steps are done again.
        clicks: Clicks of a validation.
    """

    def __init__(self, path: Path, *, start: int, clicks: int) -> None:
        self._clicks = clicks
        columns = ["step", "learning_rate", *LOSSES, *(f"miou@{k}" for k in range(1, clicks + 1)), "best"]
        kept = [] if start == 0 else _rows_until(path, start)
        with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(kept)
        self._file = path.open("a", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")

    def __call__(self, progress: Progress) -> None:
        losses = asdict(progress.losses)
        miou: Sequence[float | str] = [""] * self._clicks
        if progress.validation is not None:
            miou = progress.validation.miou
        values = [progress.learning_rate, *(losses[name] for name in LOSSES), *miou]
        shown = [value if isinstance(value, str) else f"{value:.7g}" for value in values]
        self._writer.writerow([progress.step, *shown, int(progress.best) if progress.validation else ""])
        # What the state knows to be done must be in the file.
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _rows_until(path: Path, step: int) -> list[list[str]]:
    """The complete lines of a metrics file up to a step; a killed process may have left half a line."""
    if not path.exists():
        return []
    complete = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    rows = list(csv.reader(io.StringIO("".join(complete))))[1:]
    return [row for row in rows if row and int(row[0]) <= step]


class TensorBoard:
    """Scalars of every step, and pictures of a few validated images.

    Args:
        folder: For the event files.
        start: Step that is resumed from; what an earlier run wrote after it is purged.
        pictures: Makes (name, (H, W, 3) uint8) of the model as it is; called after every validation.
    """

    def __init__(
        self, folder: Path, *, start: int, pictures: Callable[[], Sequence[tuple[str, np.ndarray]]] | None = None
    ) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=start + 1)
        self._pictures = pictures
        self._began: tuple[float, int] | None = None

    def __call__(self, progress: Progress) -> None:
        step = progress.step
        for name, value in asdict(progress.losses).items():
            self._writer.add_scalar(f"loss/{name}", value, step)
        self._writer.add_scalar("learning_rate", progress.learning_rate, step)
        now = time.monotonic()
        if self._began is not None:
            self._writer.add_scalar("steps_per_second", (step - self._began[1]) / (now - self._began[0]), step)
        self._began = (now, step)
        if progress.validation is not None:
            for k, value in enumerate(progress.validation.miou, start=1):
                self._writer.add_scalar(f"validation/miou@{k}", value, step)
            for name, picture in self._pictures() if self._pictures else ():
                self._writer.add_image(name, picture, step, dataformats="HWC")
            self._writer.flush()

    def close(self) -> None:
        self._writer.close()
