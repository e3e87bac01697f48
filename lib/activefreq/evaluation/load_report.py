"""The figures of a load test, as a table to read and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from activefreq.evaluation.load import LoadResult
from activefreq.files.atomic import atomic_write, write_json


@dataclass(frozen=True)
class Latency:
    """Percentiles of seconds; all None if nothing was measured."""

    p50: float | None
    p90: float | None
    p99: float | None
    longest: float | None

    @staticmethod
    def of(seconds: Sequence[float]) -> Latency:
        if not seconds:
            return Latency(None, None, None, None)
        return Latency(*(round(float(np.percentile(seconds, percent)), 4) for percent in (50, 90, 99, 100)))


@dataclass(frozen=True)
class ScenarioFigures:
    """A scenario in numbers; latencies are in seconds."""

    clients: int
    images: str
    clicks: int
    wrong: int
    failures: int
    clicks_per_second: float
    click: Latency
    info: Latency

    @staticmethod
    def of(result: LoadResult, *, wrong: int) -> ScenarioFigures:
        return ScenarioFigures(
            clients=result.scenario.clients,
            images="the same" if result.scenario.shared else "different",
            clicks=result.clicks,
            wrong=wrong,
            failures=len(result.failures),
            clicks_per_second=round(result.clicks / result.seconds, 3),
            click=Latency.of([answer.seconds for answers in result.answers for answer in answers]),
            info=Latency.of(result.probes),
        )


@dataclass(frozen=True)
class MemoryCurve:
    """What a server's memory does while it is clicked on.

    Attributes:
        clicks: (N,) answered until then, ascending; the first is 0.
        megabytes: (N,) resident set then.
    """

    clicks: tuple[int, ...]
    megabytes: tuple[float, ...]

    @property
    def slope(self) -> float | None:
        """Megabytes per 1000 clicks, fitted to the second half: the first fills the caches. None for under 3 points."""
        half = len(self.clicks) // 2
        if len(self.clicks) - half < 3:
            return None
        return round(1000 * float(np.polyfit(self.clicks[half:], self.megabytes[half:], 1)[0]), 2)


def write_load_report(
    figures: Sequence[ScenarioFigures], memory: MemoryCurve | None, about: Mapping[str, Any], folder: Path
) -> str:
    """Writes load.json and load.md into the folder; returns what load.md says.

    Args:
        about: What was measured on, as plain values.
    """
    content = {
        "about": dict(about),
        "scenarios": [asdict(row) for row in figures],
        "memory": None if memory is None else {**asdict(memory), "megabytes_per_1000_clicks": memory.slope},
    }
    page = load_page(figures, memory)
    write_json(folder / "load.json", content)
    with atomic_write(folder / "load.md") as path:
        path.write_text(page, encoding="utf-8")
    return page


def load_page(figures: Sequence[ScenarioFigures], memory: MemoryCurve | None) -> str:
    """The table, and a sentence on the memory."""
    lines = [
        "| Clients | Images | Clicks | Wrong masks | Failed | Clicks/s | Click p50 / p90 / p99 (ms) "
        "| `/info/` p50 / p90 / p99 (ms) |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.clients} | {row.images} | {row.clicks} | {row.wrong} | {row.failures} | {row.clicks_per_second:.2f} "
        f"| {_milliseconds(row.click)} | {_milliseconds(row.info)} |"
        for row in figures
    ]
    if memory is not None:
        slope = "too few to tell a trend" if memory.slope is None else f"{memory.slope:+.1f} MB per 1000 clicks"
        lines += [
            "",
            f"Memory of the server over {memory.clicks[-1]} clicks: {memory.megabytes[0]:.0f} MB before, "
            f"{memory.megabytes[-1]:.0f} MB after, at most {max(memory.megabytes):.0f} MB; "
            f"over the second half {slope}.",
        ]
    return "\n".join(lines) + "\n"


def _milliseconds(latency: Latency) -> str:
    values = (latency.p50, latency.p90, latency.p99)
    return " / ".join("-" if value is None else f"{1000 * value:.0f}" for value in values)
