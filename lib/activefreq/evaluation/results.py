"""What happened on the images of an evaluation, and how it is kept while and after it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from activefreq.evaluation.metrics import dice_from_iou
from activefreq.files.json_lines import append_line, read_lines


@dataclass(frozen=True)
class ClickRecord:
    """One click and what it did.

    Attributes:
        y: Row of the click.
        x: Column of the click.
        positive: Its sign.
        iou: IoU with the target after it.
        nsd: Normalized surface Dice after it, where that was asked for.
        mpe: Measures (`RegionScores`) of the mislabeled region that was clicked, before the click, and its
            region score (of AcSelect's own options, or the plan's for other policies); None if the pixel was
            labelled rightly (a first click has a region: all that is missing).
        ape: See mpe.
        rgu: |p* - p_mean|, see mpe.
        area: Pixels, see mpe.
        score: See mpe.
        seconds: Of the model, without reading, measuring or choosing clicks; for clicks that were answered in
            one batch an equal share of its time.
    """

    y: int
    x: int
    positive: bool
    iou: float
    nsd: float | None
    mpe: float | None
    ape: float | None
    rgu: float | None
    area: float | None
    score: float | None
    seconds: float


@dataclass(frozen=True)
class ImageResult:
    """All clicks of one user and policy on one image.

    Attributes:
        key: Names the policy and user with all their settings, and those of the evaluation.
        name: Of the image.
        group: Of the image: the patient, or the image itself.
        start_iou: IoU of the mask before the first click, None where there was none to be scored.
        start_nsd: Normalized surface Dice of that mask.
        clicks: In order.
        digest: Of the image and the target that these are the clicks on, see `Sample.digest`.
    """

    key: str
    name: str
    group: str
    start_iou: float | None
    start_nsd: float | None
    clicks: tuple[ClickRecord, ...]
    digest: str = ""

    @property
    def ious(self) -> list[float]:
        """After click 1, 2, ..."""
        return [click.iou for click in self.clicks]


ResultKey = tuple[str, str, str]
"""(key, name, digest) of an `ImageResult`."""


class Journal:
    """Finished images, kept on disk the moment they are finished, so that an interrupted run can go on.

    A folder with a file of JSON lines per writer. A line that was cut off by a crash, or has other fields because
    another version wrote it, is passed over; the image is then done again.
    """

    def __init__(self, folder: Path, *, writer: int = 0) -> None:
        self._folder = folder
        self._path = folder / f"{writer:03d}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)

    def append(self, result: ImageResult) -> None:
        append_line(self._path, asdict(result))

    def read(self) -> dict[ResultKey, ImageResult]:
        """All results of all writers."""
        results: dict[ResultKey, ImageResult] = {}
        for path in sorted(self._folder.glob("*.jsonl")):
            for values in read_lines(path):
                result = _from_json(values)
                if result is not None:
                    results[result.key, result.name, result.digest] = result
        return results


def _from_json(values: dict[str, Any]) -> ImageResult | None:
    """None if the fields are others."""
    try:
        return ImageResult(**{**values, "clicks": tuple(ClickRecord(**click) for click in values["clicks"])})
    except (KeyError, TypeError):
        return None


def click_table(labelled: Iterable[tuple[str, str, ImageResult]]) -> pd.DataFrame:
    """A row per policy, user, image and click; click 0 is the mask before the first click, where it was scored.

    Args:
        labelled: (policy, user, result).
    """
    table = pd.DataFrame(_rows(labelled), columns=_COLUMNS)
    table["dice"] = dice_from_iou(table["iou"].astype(float))
    return table.astype({"click": "Int64", "y": "Int64", "x": "Int64"})


_COLUMNS = [
    "policy", "user", "image", "group", "click", "y", "x", "sign",
    "iou", "dice", "nsd", "mpe", "ape", "rgu", "area", "score", "seconds",
]  # fmt: skip


def _rows(labelled: Iterable[tuple[str, str, ImageResult]]) -> Iterator[dict[str, Any]]:
    for policy, user, result in labelled:
        who = {"policy": policy, "user": user, "image": result.name, "group": result.group}
        if result.start_iou is not None:
            yield {**who, "click": 0, "iou": result.start_iou, "nsd": result.start_nsd}
        for number, click in enumerate(result.clicks, start=1):
            values = asdict(click)
            sign = "+" if values.pop("positive") else "-"
            yield {**who, "click": number, "sign": sign, **values}
