"""Learning curves over images and clicks, the areas under them, and how sure they are over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats
from scipy.integrate import trapezoid

from activefreq.evaluation.bootstrap import Interval
from activefreq.simulation.journal import RoundResult

AXES = ("images", "clicks")


def round_table(results: Sequence[RoundResult]) -> pd.DataFrame:
    """A row per seed, strategy and round: what was labelled by then, in images and clicks, and every figure."""
    return pd.DataFrame(
        {
            "seed": result.seed,
            "strategy": result.strategy,
            "round": result.round,
            "images": len(result.labelled),
            "clicks": result.clicks,
            **result.figures,
        }
        for result in results
    )


def area(x: np.ndarray, y: np.ndarray, *, low: float, high: float) -> float:
    """Mean height of a curve from `low` to `high`: the area under it, normalized by the range.

    Args:
        x: (N,), strictly increasing; straight lines between the points.
        y: (N,), the curve.
        low, high: Within the range of x; where they are equal, the height there.
    """
    inner = x[(x > low) & (x < high)]
    places = np.concatenate([[low], inner, [high]])
    heights = np.interp(places, x, y)
    return float(trapezoid(heights, places) / (high - low)) if high > low else float(heights[0])


def areas(table: pd.DataFrame, figure: str, axis: str) -> pd.DataFrame:
    """Areas under the curves of a figure: a row per seed, a column per strategy.

    Strategies spend different numbers of clicks on as many images. So that they are compared at the same cost, the
    area of a seed is taken over the range that all its curves have in common.

    Args:
        table: Of `round_table`.
        figure: Its column.
        axis: "images" or "clicks".
    """
    rows = {}
    for seed, of_seed in table.groupby("seed"):
        curves = {name: curve.sort_values(axis) for name, curve in of_seed.groupby("strategy", sort=False)}
        low = max(curve[axis].iloc[0] for curve in curves.values())
        high = min(curve[axis].iloc[-1] for curve in curves.values())
        rows[seed] = {
            name: area(curve[axis].to_numpy(float), curve[figure].to_numpy(float), low=low, high=high)
            for name, curve in curves.items()
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def seed_interval(values: np.ndarray) -> Interval:
    """Mean of one value per seed with its 95 % interval by Student's t; without bounds for a single seed."""
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return Interval(float(values.mean()), None, None)
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return Interval(float(values.mean()), float(values.mean()) - half, float(values.mean()) + half)
