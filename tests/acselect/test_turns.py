from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activefreq.acselect.turns import PATIENCE, behind, due_numbers
from activefreq.errors import InputError

SCORES = st.lists(st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6)), min_size=1, max_size=30)


def test_the_highest_score_is_next() -> None:
    due = due_numbers(np.array([0.2, 0.9, 0.5]), np.zeros(3))
    assert np.argsort(due).tolist() == [1, 2, 0]
    assert due.tolist() == [PATIENCE, 0, PATIENCE / 2]


def test_an_image_without_a_score_ranks_in_the_middle() -> None:
    due = due_numbers(np.array([0.1, np.nan, 0.9]), np.zeros(3))
    assert np.argsort(due).tolist() == [2, 1, 0]


def test_equal_scores_are_due_together() -> None:
    assert len(set(due_numbers(np.full(4, 3.0), np.zeros(4)))) == 1


@given(SCORES, st.data())
def test_a_skipped_image_goes_behind_all_that_wait(scores: list[float], data: st.DataObject) -> None:
    arrivals = np.array(data.draw(st.lists(st.integers(0, 5000), min_size=len(scores), max_size=len(scores))), float)
    skipped = data.draw(st.integers(0, len(scores) - 1))
    arrivals[skipped] = behind(np.delete(arrivals, skipped))
    # Whatever the scores are by then.
    due = due_numbers(np.array(scores), arrivals)
    assert (np.delete(due, skipped) < due[skipped]).all()


@given(SCORES, st.data())
def test_only_what_came_within_the_patience_overtakes(scores: list[float], data: st.DataObject) -> None:
    arrivals = np.array(
        data.draw(st.lists(st.integers(0, 5000), min_size=len(scores), max_size=len(scores))), dtype=float
    )
    due = due_numbers(np.array(scores), arrivals)
    earlier, later = np.nonzero(arrivals[:, None] + PATIENCE < arrivals[None, :])
    assert (due[earlier] < due[later]).all()


@pytest.mark.parametrize(("scores", "arrivals", "patience"), [([1.0], [1.0, 2.0], 10), ([1.0], [0.0], 0)])
def test_what_makes_no_sense_is_refused(scores: list[float], arrivals: list[float], patience: float) -> None:
    with pytest.raises(InputError):
        due_numbers(np.array(scores), np.array(arrivals), patience=patience)
