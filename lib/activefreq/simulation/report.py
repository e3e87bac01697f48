"""The files of a simulation: `rounds.csv`, `curves.png`, `simulation.md` and `summary.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from activefreq.evaluation.bootstrap import Interval
from activefreq.evaluation.report import markdown_table
from activefreq.files.atomic import atomic_write, write_json
from activefreq.simulation.curves import AXES, areas, round_table, seed_interval
from activefreq.simulation.journal import RoundResult

FIGURES: Mapping[str, str] = {
    "miou@0": "IoU without a click",
    "miou@1": "IoU after one click",
    "miou": "mean IoU over the clicks",
    "noc@85": "NoC@85 (fewer is better)",
}
"""Figures that are reported, and what they are called."""

BASELINE = "random"


def write_report(results: Sequence[RoundResult], settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Writes all files into `folder` and returns what went into `summary.json`."""
    table = round_table(results)
    summary = summarize(table, settings)
    page = simulation_page(table, summary)
    with atomic_write(folder / "rounds.csv") as path:
        table.to_csv(path, index=False)
    with atomic_write(folder / "curves.png") as path:
        FigureCanvasAgg(draw_curves(table)).print_png(str(path))
    with atomic_write(folder / "simulation.md") as path:
        path.write_text(page, encoding="utf-8")
    write_json(folder / "summary.json", summary, default=str)
    return summary


def summarize(table: pd.DataFrame, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Areas under the curves with intervals over seeds, alone and less those of `random` on the same seeds."""
    figures = [figure for figure in FIGURES if figure in table]
    found: dict[str, Any] = {"settings": dict(settings), "seeds": sorted(int(seed) for seed in table.seed.unique())}
    for axis in AXES:
        found[f"area_over_{axis}"] = {}
        for figure in figures:
            values = areas(table, figure, axis)
            found[f"area_over_{axis}"][figure] = {
                strategy: {
                    **asdict(seed_interval(values[strategy].to_numpy())),
                    "less_random": asdict(seed_interval((values[strategy] - values[BASELINE]).to_numpy()))
                    if BASELINE in values and strategy != BASELINE
                    else None,
                }
                for strategy in values
            }
    return found


def simulation_page(table: pd.DataFrame, summary: Mapping[str, Any]) -> str:
    """The figures as Markdown tables."""
    figures = [figure for figure in FIGURES if figure in table]
    names = [FIGURES[figure] for figure in figures]
    rounds = sorted(table["round"].unique())
    images = [int(table[table["round"] == round_].images.iloc[0]) for round_ in rounds]
    lines = [
        "# Simulated annotation",
        "",
        f"{len(summary['seeds'])} seeds; labelled images: {', '.join(map(str, images))}. An area is the mean height of "
        "a learning curve; in parentheses the difference to `random` on the same seeds with its 95 % interval "
        "(Student's t over seeds), bold where it excludes zero.",
    ]
    for axis in AXES:
        lines += ["", f"Area over {axis}:", ""]
        lines += markdown_table(
            ["Strategy", *names],
            [
                [strategy, *(_area(summary[f"area_over_{axis}"][figure][strategy]) for figure in figures)]
                for strategy in table.strategy.unique()
            ],
        )
    lines += ["", "Last round, mean over seeds:", ""]
    last = table[table["round"] == rounds[-1]]
    lines += markdown_table(
        ["Strategy", "clicks", *names],
        [
            [
                strategy,
                f"{rows.clicks.mean():.0f}",
                *(f"{rows[figure].mean():.4f} ± {rows[figure].std(ddof=0):.4f}" for figure in figures),
            ]
            for strategy, rows in last.groupby("strategy", sort=False)
        ],
    )
    return "\n".join(lines) + "\n"


def _area(entry: Mapping[str, Any]) -> str:
    if entry["less_random"] is None:
        return f"{entry['mean']:.4f}"
    less = Interval(**entry["less_random"])
    if less.low is None:
        return f"{entry['mean']:.4f} ({less.mean:+.4f})"
    text = f"{less.mean:+.4f} [{less.low:+.4f}, {less.high:+.4f}]"
    return f"{entry['mean']:.4f} ({f'**{text}**' if less.excludes_zero else text})"


def draw_curves(table: pd.DataFrame) -> Figure:
    """One or two figures against images and clicks: the mean over seeds, with its interval in a lighter shade."""
    measures = [measure for measure in ("miou@0", "miou") if measure in table]
    figure = Figure(figsize=(10, 0.5 + 3.25 * len(measures)), dpi=150, layout="constrained")
    panels = figure.subplots(len(measures), 2, sharey="row", squeeze=False)
    for row, measure in zip(panels, measures, strict=True):
        for axes, axis in zip(row, AXES, strict=True):
            for strategy, rows in table.groupby("strategy", sort=False):
                by_round = rows.groupby("round")
                x = by_round[axis].mean().to_numpy()
                intervals = [seed_interval(values.to_numpy()) for _, values in by_round[measure]]
                (line,) = axes.plot(x, [one.mean for one in intervals], marker="o", markersize=3, label=strategy)
                if intervals[0].low is not None:
                    low, high = [one.low for one in intervals], [one.high for one in intervals]
                    axes.fill_between(x, low, high, color=line.get_color(), alpha=0.1, linewidth=0)
            axes.set_xlabel(f"labelled {axis}" if axis == "images" else "clicks of the annotator")
            axes.set_ylabel(FIGURES[measure])
            axes.grid(alpha=0.3)
    panels[0, 0].legend(fontsize="small")
    return figure
