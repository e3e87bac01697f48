from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activefreq.acselect.ranking import ImageScore
from activefreq.acselect.strategies import (
    STRATEGIES,
    at_random,
    at_random_with_foreground,
    by_acselect,
    by_acselect_draw,
    by_entropy,
)


def score(acselect: float, entropy: float = 0.0, foreground: float = 0.0) -> ImageScore:
    return ImageScore(acselect, entropy, foreground, 0)


def test_values_are_those_of_the_scores() -> None:
    images = [score(0.1, 0.5, 0.2), None, score(0.3, 0.4, 0.0)]
    generator = np.random.default_rng(0)
    np.testing.assert_array_equal(by_acselect(images, generator), [0.1, np.nan, 0.3])
    np.testing.assert_array_equal(by_entropy(images, generator), [0.5, np.nan, 0.4])


def test_foreground_goes_first_then_what_is_not_known() -> None:
    images = [score(0, 0, 0.0), None, score(0, 0, 0.5)]
    generator = np.random.default_rng(0)
    for _ in range(20):
        assert np.argsort(at_random_with_foreground(images, generator)).tolist() == [0, 1, 2]


def test_random_takes_every_image_equally_often() -> None:
    generator = np.random.default_rng(0)
    firsts = [int(np.argmax(at_random([None] * 4, generator))) for _ in range(2000)]
    # Four standard deviations of a binomial with p = 1/4.
    assert np.abs(np.bincount(firsts, minlength=4) - 500).max() < 4 * np.sqrt(2000 * 0.25 * 0.75)


def test_draws_are_in_proportion_to_the_score() -> None:
    generator = np.random.default_rng(0)
    images = [score(0.1), score(0.3), score(0.6), score(0.0)]
    firsts = [int(np.argmax(by_acselect_draw(images, generator))) for _ in range(4000)]
    shares = np.array([0.1, 0.3, 0.6, 0.0])
    allowed = 4 * np.sqrt(4000 * shares * (1 - shares))
    assert (np.abs(np.bincount(firsts, minlength=4) - 4000 * shares) <= allowed).all()


@pytest.mark.parametrize("name", STRATEGIES)
@given(known=st.lists(st.one_of(st.none(), st.floats(0, 1, width=32)), max_size=12), seed=st.integers(0, 2**32 - 1))
def test_a_strategy_values_every_image_and_is_a_function_of_its_seed(
    name: str, known: list[float | None], seed: int
) -> None:
    images = [None if value is None else score(value, value, value) for value in known]
    values, again = (STRATEGIES[name](images, np.random.default_rng(seed)) for _ in range(2))
    assert values.shape == (len(images),)
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, again)
