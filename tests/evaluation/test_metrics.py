import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from activefreq.evaluation.metrics import (
    area_under_curve,
    carried_on,
    dice_from_iou,
    number_of_clicks,
    surface_dice,
)
from activefreq.overlap import intersection_over_union

MASKS = hnp.arrays(bool, (6, 7))


@given(MASKS, MASKS)
def test_dice_follows_from_iou(a, b):
    if a.any() or b.any():
        assert dice_from_iou(intersection_over_union(a, b)) == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    else:
        assert dice_from_iou(intersection_over_union(a, b)) == 1.0


def test_surface_dice_by_hand():
    target = np.zeros((20, 20), bool)
    target[5:15, 5:15] = True
    assert surface_dice(target, target, tolerance=0.0) == 1.0
    moved = np.roll(target, 2, axis=1)
    assert surface_dice(moved, target, tolerance=2.0) == 1.0
    # Only the rows that top and bottom sides share coincide: 8 of 10 pixels each, of outlines of 36 pixels.
    assert surface_dice(moved, target, tolerance=0.0) == pytest.approx(2 * 2 * 8 / (2 * 36))
    empty = np.zeros_like(target)
    assert surface_dice(empty, target, tolerance=2.0) == 0.0
    assert surface_dice(target, empty, tolerance=2.0) == 0.0
    assert surface_dice(empty, empty, tolerance=2.0) == 1.0


def test_number_of_clicks_by_hand():
    ious = [0.5, 0.8, 0.7, 0.9]
    assert number_of_clicks(ious, 0.8, max_clicks=20) == 2
    assert number_of_clicks(ious, 0.81, max_clicks=20) == 4
    assert number_of_clicks(ious, 0.95, max_clicks=20) is None
    # Reached with the very last click: not a failure.
    assert number_of_clicks(ious, 0.9, max_clicks=4) == 4
    assert number_of_clicks(ious, 0.9, max_clicks=3) is None
    assert number_of_clicks(ious, 0.5, max_clicks=3, start_iou=0.49) == 1
    assert number_of_clicks(ious, 0.5, max_clicks=3, start_iou=0.5) == 0
    assert number_of_clicks([], 0.5, max_clicks=3) is None


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.1, 1), st.floats(0, 0.1))
def test_a_higher_threshold_never_takes_fewer_clicks(ious, threshold, more):
    easy = number_of_clicks(ious, threshold, max_clicks=6) or 7
    hard = number_of_clicks(ious, threshold + more, max_clicks=6) or 7
    assert easy <= hard


def test_carrying_on_by_hand():
    np.testing.assert_array_equal(carried_on([0.5, 0.9], length=4), [0.5, 0.9, 0.9, 0.9])
    np.testing.assert_array_equal(carried_on([0.5, 0.9, 0.4], length=2), [0.5, 0.9])
    np.testing.assert_array_equal(carried_on([], length=2, start=0.7), [0.7, 0.7])


def test_area_under_the_curve_by_hand():
    assert area_under_curve(np.array([0.0, 1.0, 1.0])) == 0.75
    assert area_under_curve(np.array([0.4])) == 0.4
    assert area_under_curve(np.full(20, 0.3)) == pytest.approx(0.3)
