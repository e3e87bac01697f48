"""The files of a finished evaluation: `summary.json`, `clicks.csv`, `noc.md` and `curve.png`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from activefreq.evaluation.plan import Plan
from activefreq.evaluation.results import click_table
from activefreq.evaluation.runner import Outcome
from activefreq.evaluation.summary import Comparison, Scorecard, compare, percent, scorecard
from activefreq.files.atomic import atomic_write, write_json


def write_report(plan: Plan, outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Writes all files into `folder` and returns what went into `summary.json`."""
    cards = [scorecard(entrant.label, outcome.results[entrant.label], plan) for entrant in plan.entrants]
    comparisons = compare(cards, seed=plan.seed)
    settings = plan.settings()
    common = {name: value for name, value in settings.items() if name != "policies"}
    summary = {
        "policies": {
            card.label: {
                **card.figures(),
                "groups": card.by_group(),
                "checkpoint_sha256": plan.backend.get("checkpoint_sha256"),
                "settings": {**common, **settings["policies"][card.label]},
            }
            for card in cards
        },
        "comparisons": [
            {
                "first": comparison.first,
                "second": comparison.second,
                "measure": f"noc@{percent(comparison.threshold)}",
                "difference": comparison.difference.mean,
                "low": comparison.difference.low,
                "high": comparison.difference.high,
            }
            for comparison in comparisons
        ],
        "skipped": [{"image": problem.name, "reason": problem.reason} for problem in outcome.problems],
        "settings": settings,
    }
    table = click_table(
        (entrant.policy.label, entrant.user, result)
        for entrant in plan.entrants
        for result in sorted(outcome.results[entrant.label], key=lambda result: result.name)
    )
    with atomic_write(folder / "clicks.csv") as path:
        table.to_csv(path, index=False)
    with atomic_write(folder / "noc.md") as path:
        path.write_text(noc_page(plan, cards, comparisons, skipped=len(outcome.problems)), encoding="utf-8")
    with atomic_write(folder / "curve.png") as path:
        FigureCanvasAgg(curve(cards)).print_png(str(path))
    write_json(folder / "summary.json", summary, default=str)
    return summary


def noc_page(plan: Plan, cards: Sequence[Scorecard], comparisons: Sequence[Comparison], *, skipped: int) -> str:
    """The figures as Markdown tables: the paper's form, then what lies beside it, then all differences."""
    most = plan.rollout.max_clicks
    names = [f"NoC@{percent(threshold)}" for threshold in plan.thresholds]
    shown = [number for number in (0, 1, 2, 3, 5, 10, 20) if number <= most]
    figures = {card.label: card.figures() for card in cards}
    if not plan.rollout.automatic_start:
        shown.remove(0)
    lines = [
        "# Number of clicks",
        "",
        f"{len(cards[0].names)} images of {len(set(cards[0].groups))} groups, at most {most} clicks"
        + (f"; {skipped} skipped." if skipped else "."),
        "NoC counts an image that never reached the IoU as the most clicks; failures are those images.",
        "",
        *markdown_table(
            ["Policy", *names, *(f"failures@{percent(threshold)}" for threshold in plan.thresholds)],
            [
                [
                    card.label,
                    *(f"{figures[card.label][f'noc@{percent(t)}']:.2f}" for t in plan.thresholds),
                    *(str(figures[card.label][f"failures@{percent(t)}"]) for t in plan.thresholds),
                ]
                for card in cards
            ],
        ),
        "",
        "Mean IoU after k clicks, the area under its curve, boundary quality, and the model's time for a click.",
        "",
        *markdown_table(
            ["Policy", *(f"mIoU@{k}" for k in shown), "AUC", *_boundary_names(cards), "ms a click"],
            [
                [
                    card.label,
                    *(_figure(figures[card.label][f"miou@{k}"]) for k in shown),
                    _figure(figures[card.label]["auc"]),
                    *(_figure(figures[card.label][name.lower()]) for name in _boundary_names(cards)),
                    _figure(figures[card.label]["spc_ms"], ".1f"),
                ]
                for card in cards
            ],
        ),
    ]
    lines += _hardest_groups(cards[0], plan)
    if comparisons:
        lines += [
            "",
            "Difference in clicks, first minus second, on the same images: mean and 95 % interval (paired bootstrap "
            "over groups); bold where the interval excludes zero.",
            "",
            *markdown_table(["First", "Second", *names], _difference_rows(comparisons)),
        ]
    return "\n".join(lines) + "\n"


def _hardest_groups(card: Scorecard, plan: Plan, *, most: int = 5) -> list[str]:
    """A table of the groups that take the most clicks; nothing where every image is a group of its own."""
    groups = card.by_group()
    if len(groups) < 2 or len(groups) == len(card.names):
        return []
    keys = [f"noc@{percent(threshold)}" for threshold in plan.thresholds]
    # By the middle threshold: the highest may be out of reach for all of them.
    key = keys[len(keys) // 2]
    hardest = sorted(groups, key=lambda group: (-groups[group][key], group))[:most]
    rows = [
        [
            group,
            str(groups[group]["images"]),
            *(f"{groups[group][name]:.2f}" for name in keys),
            _figure(groups[group]["miou@1"]),
        ]
        for group in hardest
    ]
    return [
        "",
        f"The groups (of {len(groups)}) that take the most clicks with {card.label}. Where one stands out, look at its "
        "labels.",
        "",
        *markdown_table(["Group", "images", *(name.replace("noc", "NoC") for name in keys), "mIoU@1"], rows),
    ]


def _boundary_names(cards: Sequence[Scorecard]) -> list[str]:
    return [f"{measure}@{number}" for measure in ("Dice", "NSD") for number in list(cards[0].nsd)[1:3]]


def _difference_rows(comparisons: Sequence[Comparison]) -> list[list[str]]:
    rows: dict[tuple[str, str], list[str]] = {}
    for comparison in comparisons:
        found = comparison.difference
        rows.setdefault((comparison.first, comparison.second), []).append(
            f"**{found}**" if found.excludes_zero else str(found)
        )
    return [[first, second, *cells] for (first, second), cells in rows.items()]


def _figure(value: float | None, form: str = ".4f") -> str:
    return "" if value is None else format(value, form)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table; every row has a cell for each word of the head."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def curve(cards: Sequence[Scorecard]) -> Figure:
    """Mean IoU against the number of clicks, a line for each scorecard."""
    figure = Figure(figsize=(7, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for card in cards:
        ious = card.ious.mean(axis=0)
        numbers = list(range(1, len(ious) + 1))
        if card.start_ious is not None:
            numbers, ious = [0, *numbers], [card.start_ious.mean(), *ious]
        axes.plot(numbers, ious, marker="o", markersize=3, linewidth=1.2, label=card.label)
    axes.set_xlabel("clicks")
    axes.set_ylabel("mean IoU")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure
