import numpy as np
import pytest

from activefreq.errors import InputError
from activefreq.evaluation.bootstrap import Interval, bootstrap_mean


def test_equals_the_normal_interval_for_many_independent_values():
    values = np.random.default_rng(0).normal(1.0, 2.0, 400)
    interval = bootstrap_mean(values, [str(index) for index in range(400)])
    error = values.std() / np.sqrt(400)
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.02)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.02)
    assert interval.excludes_zero


def test_groups_are_drawn_whole():
    # Ten patients of forty identical slices are ten observations, not four hundred.
    of_patients = np.random.default_rng(1).normal(0.0, 1.0, 10)
    groups = [str(patient) for patient in range(10) for _ in range(40)]
    sliced = bootstrap_mean(np.repeat(of_patients, 40), groups)
    alone = bootstrap_mean(of_patients, [str(patient) for patient in range(10)])
    assert sliced.low == pytest.approx(alone.low)
    assert sliced.high == pytest.approx(alone.high)
    assert not sliced.excludes_zero


def test_the_order_of_images_does_not_matter():
    values = np.arange(30.0)
    groups = [f"g{index % 7}" for index in range(30)]
    order = np.random.default_rng(2).permutation(30)
    shuffled = bootstrap_mean(values[order], [groups[index] for index in order])
    assert shuffled == bootstrap_mean(values, groups)


def test_no_difference_has_no_interval_around_it():
    interval = bootstrap_mean(np.zeros(5), list("abcde"))
    assert (interval.mean, interval.low, interval.high) == (0.0, 0.0, 0.0)
    assert not interval.excludes_zero


def test_one_group_tells_no_spread():
    interval = bootstrap_mean(np.array([1.0, 2.0, 3.0]), ["a", "a", "a"])
    assert (interval.mean, interval.low, interval.high) == (2.0, None, None)
    assert not interval.excludes_zero
    assert str(interval) == "+2.00 [one group]"


def test_an_interval_reads_with_its_signs():
    assert str(Interval(-0.5, -1.0, 0.25)) == "-0.50 [-1.00, +0.25]"


def test_bad_input_is_named():
    with pytest.raises(InputError, match="0 and 0 given"):
        bootstrap_mean(np.array([]), [])
    with pytest.raises(InputError, match="2 and 1 given"):
        bootstrap_mean(np.array([1.0, 2.0]), ["a"])
