from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activefreq.simulation.curves import area, areas, round_table, seed_interval
from activefreq.simulation.journal import RoundResult


def result(seed: int, strategy: str, round_: int, clicks: int, miou: float) -> RoundResult:
    labelled = tuple(f"image{n}" for n in range(2 + 2 * round_))
    return RoundResult(seed, strategy, round_, labelled, clicks, {"miou": miou}, (), 0)


def test_the_area_is_the_mean_height() -> None:
    x, y = np.array([2.0, 4.0, 8.0]), np.array([0.0, 1.0, 1.0])
    assert area(x, y, low=2, high=8) == pytest.approx((1.0 + 4.0) / 6)
    assert area(x, y, low=3, high=4) == pytest.approx(0.75)
    assert area(x, y, low=3, high=3) == pytest.approx(0.5)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_the_area_lies_between_the_lowest_and_the_highest_point(heights: list[float]) -> None:
    found = area(np.arange(len(heights), dtype=float), np.array(heights), low=0, high=len(heights) - 1)
    assert min(heights) - 1e-9 <= found <= max(heights) + 1e-9


def test_strategies_are_compared_over_the_clicks_that_all_have_spent() -> None:
    rows = [result(0, "random", 0, 10, 0.5), result(0, "random", 1, 20, 0.7)]
    rows += [result(0, "acselect", 0, 10, 0.5), result(0, "acselect", 1, 40, 0.8)]
    table = round_table(rows)
    assert table.images.tolist() == [2, 4, 2, 4]
    by_images = areas(table, "miou", "images")
    assert by_images.loc[0].to_dict() == pytest.approx({"random": 0.6, "acselect": 0.65})
    by_clicks = areas(table, "miou", "clicks")
    # From 10 to 20 clicks the slower curve has risen by a third.
    assert by_clicks.loc[0].to_dict() == pytest.approx({"random": 0.6, "acselect": 0.55})


def test_intervals_are_students() -> None:
    one = seed_interval(np.array([1.0, 2.0, 3.0]))
    # t(0.975, 2) = 4.3027, standard error 1 / sqrt(3)
    assert (one.mean, one.low, one.high) == pytest.approx((2.0, 2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)
    assert seed_interval(np.array([1.5])).low is None


def test_the_table_has_a_row_per_round() -> None:
    table = round_table([result(0, "random", 0, 3, 0.25)])
    pd.testing.assert_frame_equal(
        table,
        pd.DataFrame([{"seed": 0, "strategy": "random", "round": 0, "images": 2, "clicks": 3, "miou": 0.25}]),
    )
