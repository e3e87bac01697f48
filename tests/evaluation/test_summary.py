import numpy as np
import pytest

from activefreq.evaluation.plan import Plan, PolicySpec
from activefreq.evaluation.results import ClickRecord, ImageResult
from activefreq.evaluation.rollout import RolloutConfig
from activefreq.evaluation.summary import compare, percent, scorecard

PLAN = Plan(
    policies=(PolicySpec("standard", "standard"), PolicySpec("area", "area")),
    thresholds=(0.8, 0.9),
    rollout=RolloutConfig(max_clicks=4, nsd_at=(1, 3)),
)


def result(name, ious, *, group=None, nsd=0.5, start=None, seconds=0.1):
    clicks = tuple(ClickRecord(1, 2, True, iou, nsd, None, None, None, None, None, seconds=seconds) for iou in ious)
    return ImageResult("key", name, group or name, start, None if start is None else 0.25, clicks)


def test_figures_by_hand():
    card = scorecard("standard", [result("b", [0.5, 0.8, 0.7, 0.9]), result("a", [0.85, 0.86])], PLAN)
    assert card.names == ("a", "b")
    figures = card.figures()
    assert figures["images"] == 2
    assert figures["noc@80"] == 1.5
    # a never reached 0.9 and counts 4; b reached it with the last click, which is no failure.
    assert figures["noc@90"] == 4.0
    assert figures["failures@80"] == 0
    assert figures["failures@90"] == 1
    assert [figures[f"miou@{k}"] for k in (1, 2, 3, 4)] == pytest.approx([0.675, 0.83, 0.78, 0.88])
    assert "miou@0" not in figures
    assert figures["dice@3"] == pytest.approx((2 * 0.86 / 1.86 + 2 * 0.7 / 1.7) / 2)
    assert figures["nsd@3"] == 0.5
    assert figures["auc"] == pytest.approx(
        ((0.85 / 2 + 0.86 + 0.86 + 0.86 / 2) / 3 + (0.5 / 2 + 0.8 + 0.7 + 0.9 / 2) / 3) / 2
    )
    assert figures["spc_ms"] == pytest.approx(100)


def test_a_mask_before_the_first_click_counts():
    card = scorecard("standard", [result("a", [], start=0.95), result("b", [0.9], start=0.5)], PLAN)
    figures = card.figures()
    assert figures["noc@80"] == 0.5
    assert figures["miou@0"] == pytest.approx(0.725)
    assert figures["miou@4"] == pytest.approx(0.925)
    assert figures["nsd@1"] == pytest.approx((0.25 + 0.5) / 2)


def test_nothing_clicked_at_all_has_no_time():
    card = scorecard("standard", [result("a", [], start=0.95)], PLAN)
    assert card.figures()["spc_ms"] is None


def test_figures_do_not_depend_on_the_order():
    ious = np.random.default_rng(0).random((50, 4))
    results = [result(f"{index:02d}", list(row)) for index, row in enumerate(ious)]
    assert scorecard("x", results, PLAN).figures() == scorecard("x", results[::-1], PLAN).figures()


def test_a_surface_dice_that_was_not_measured_is_missed():
    with pytest.raises(ValueError, match="surface Dice of a after 1 clicks"):
        scorecard("x", [result("a", [0.5], nsd=None)], PLAN)


def test_comparisons_are_paired_and_name_what_they_subtract():
    rng = np.random.default_rng(0)
    hard = rng.integers(0, 2, 200)
    # On each image area is one click faster, and the images differ by more than that.
    slow = [result(f"{i:03d}", [0.0] * (1 + h) + [0.95]) for i, h in enumerate(hard)]
    fast = [result(f"{i:03d}", [0.0] * h + [0.95]) for i, h in enumerate(hard)]
    cards = [scorecard("standard", slow, PLAN), scorecard("area", fast, PLAN)]
    comparisons = compare(cards)
    assert [(c.first, c.second, c.threshold) for c in comparisons] == [
        ("area", "standard", 0.8),
        ("area", "standard", 0.9),
    ]
    assert comparisons[0].difference.mean == -1.0
    assert (comparisons[0].difference.low, comparisons[0].difference.high) == (-1.0, -1.0)


def test_percent():
    assert [percent(t) for t in (0.8, 0.85, 0.825, 1.0, 0.07)] == ["80", "85", "82.5", "100", "7"]
