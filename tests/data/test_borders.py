import numpy as np
import pytest

from activefreq.data.borders import moved_border


def test_the_border_moves_by_about_what_it_is_told():
    y, x = np.mgrid[:60, :60]
    target = (y - 30) ** 2 + (x - 20) ** 2 <= 15**2
    radius = np.sqrt(target.sum() / np.pi)
    wrong = [(moved_border(target, 0.1, np.random.default_rng(seed)) ^ target).sum() for seed in range(40)]
    # A normal move of deviation s sweeps an area of length times its mean absolute value, s sqrt(2 / pi).
    expected = 2 * np.pi * radius * (0.1 * radius) * np.sqrt(2 / np.pi)
    assert np.mean(wrong) == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("value", [False, True])
def test_an_object_without_a_border_is_seen_as_it_is(value):
    target = np.full((9, 9), value)
    np.testing.assert_array_equal(moved_border(target, 0.5, np.random.default_rng(0)), target)


def test_an_object_never_vanishes():
    target = np.zeros((30, 30), bool)
    target[15, 15] = True
    for seed in range(50):
        assert moved_border(target, 5.0, np.random.default_rng(seed)).any()
