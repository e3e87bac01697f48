"""From what happened on each image to the figures of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from activefreq.evaluation.bootstrap import Interval, bootstrap_mean
from activefreq.evaluation.metrics import area_under_curve, carried_on, dice_from_iou, number_of_clicks
from activefreq.evaluation.plan import Plan
from activefreq.evaluation.results import ImageResult


@dataclass(frozen=True, eq=False)
class Scorecard:
    """The figures of one policy and user, image by image, all in the same order of images.

    Attributes:
        label: Of the policy and user.
        names: N images.
        groups: N groups.
        clicks: Threshold -> (N,) number of clicks, the most allowed where it was never reached.
        failures: Threshold -> (N,) bool, where it was never reached.
        ious: (N, K) IoU after click 1 to K, carried on.
        nsd: Number of clicks -> (N,) normalized surface Dice after that many, or after the last.
        start_ious: (N,) IoU before the first click; None where nothing was scored.
        seconds: All clicks' times.
    """

    label: str
    names: tuple[str, ...]
    groups: tuple[str, ...]
    clicks: dict[float, np.ndarray]
    failures: dict[float, np.ndarray]
    ious: np.ndarray
    nsd: dict[int, np.ndarray]
    start_ious: np.ndarray | None
    seconds: np.ndarray

    def figures(self) -> dict[str, Any]:
        """Means over images under the keys of `summary.json`."""
        figures: dict[str, Any] = {"images": len(self.names)}
        for threshold, clicks in self.clicks.items():
            figures[f"noc@{percent(threshold)}"] = _mean(clicks)
        for threshold, failures in self.failures.items():
            figures[f"failures@{percent(threshold)}"] = int(failures.sum())
        if self.start_ious is not None:
            figures["miou@0"] = _mean(self.start_ious)
        for number, column in enumerate(self.ious.T, start=1):
            figures[f"miou@{number}"] = _mean(column)
        for number, values in self.nsd.items():
            figures[f"dice@{number}"] = _mean(dice_from_iou(self.ious[:, number - 1]))
            figures[f"nsd@{number}"] = _mean(values)
        figures["auc"] = _mean(np.array([area_under_curve(ious) for ious in self.ious]))
        figures["spc_ms"] = 1000 * float(self.seconds.mean()) if self.seconds.size else None
        return figures

    def by_group(self) -> dict[str, dict[str, Any]]:
        """Of each group, in the order of their names: its images, NoC at each threshold, and mIoU@1.

        A group whose every image is hard is worth a look at its labels.
        """
        names, places, images = np.unique(np.array(self.groups), return_inverse=True, return_counts=True)

        def means(values: np.ndarray) -> list[float]:
            return [float(mean) for mean in np.bincount(places, weights=values, minlength=len(names)) / images]

        columns = {f"noc@{percent(threshold)}": means(clicks) for threshold, clicks in self.clicks.items()}
        columns["miou@1"] = means(self.ious[:, 0])
        return {
            str(group): {"images": int(images[place]), **{name: column[place] for name, column in columns.items()}}
            for place, group in enumerate(names)
        }


def scorecard(label: str, results: Sequence[ImageResult], plan: Plan) -> Scorecard:
    """Collects results, at least one, in the order of the images' names."""
    results = sorted(results, key=lambda result: result.name)
    most = plan.rollout.max_clicks
    numbers = {
        threshold: [
            number_of_clicks(result.ious, threshold, max_clicks=most, start_iou=result.start_iou) for result in results
        ]
        for threshold in plan.thresholds
    }
    starts = [result.start_iou for result in results]
    return Scorecard(
        label=label,
        names=tuple(result.name for result in results),
        groups=tuple(result.group for result in results),
        clicks={
            threshold: np.array([most if number is None else number for number in found], float)
            for threshold, found in numbers.items()
        },
        failures={threshold: np.array([number is None for number in found]) for threshold, found in numbers.items()},
        ious=np.stack([carried_on(result.ious, length=most, start=result.start_iou or 0.0) for result in results]),
        nsd={
            number: np.array([_nsd_after(result, number) for result in results])
            for number in plan.rollout.nsd_at
            if number <= most
        },
        start_ious=None if None in starts else np.array(starts, float),
        seconds=np.array([click.seconds for result in results for click in result.clicks]),
    )


def _nsd_after(result: ImageResult, number: int) -> float:
    if not result.clicks:
        return result.start_nsd or 0.0
    click = result.clicks[min(number, len(result.clicks)) - 1]
    if click.nsd is None:
        raise ValueError(f"the surface Dice of {result.name} after {number} clicks was not measured")
    return click.nsd


@dataclass(frozen=True)
class Comparison:
    """How many clicks fewer (negative) or more `first` takes than `second` on the same images."""

    first: str
    second: str
    threshold: float
    difference: Interval


def compare(scorecards: Sequence[Scorecard], *, seed: int = 0) -> list[Comparison]:
    """All pairs at all thresholds, by paired bootstrap over groups. The scorecards cover the same images."""
    return [
        Comparison(
            first.label,
            second.label,
            threshold,
            bootstrap_mean(first.clicks[threshold] - second.clicks[threshold], first.groups, seed=seed),
        )
        for second, first in combinations(scorecards, 2)
        for threshold in first.clicks
    ]


def percent(threshold: float) -> str:
    """A threshold as it is written in NoC@85."""
    return f"{100 * threshold:g}"


def _mean(values: np.ndarray) -> float:
    # Summing sorted values makes the mean the same in whichever order the images came.
    return float(np.sort(np.asarray(values, float)).mean())
