from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activefreq.acselect.ranking import ImageScore
from activefreq.acselect.strategies import (
    STRATEGIES,
    Pool,
    Strategy,
    at_random,
    at_random_with_foreground,
    by_acselect,
    by_entropy,
    by_score,
)
from activefreq.errors import InputError


def score(acselect: float, entropy: float = 0.0, foreground: float = 0.0) -> ImageScore:
    return ImageScore(acselect, entropy, foreground, 0)


def pool(*scores: ImageScore | None, gains: Sequence[float] | None = None) -> Pool:
    return Pool(scores, np.full(len(scores), np.nan) if gains is None else np.array(gains))


def first_shares(strategy: Strategy, images: Pool, draws: int = 4000) -> np.ndarray:
    """How often each image is the first."""
    generator = np.random.default_rng(0)
    firsts = [int(np.nanargmax(strategy(images, generator))) for _ in range(draws)]
    return np.bincount(firsts, minlength=len(images.scores)) / draws


def assert_shares(found: np.ndarray, expected: Sequence[float], draws: int = 4000) -> None:
    """Within four standard deviations of a binomial."""
    shares = np.array(expected) / np.sum(expected)
    assert (np.abs(found - shares) <= 4 * np.sqrt(shares * (1 - shares) / draws)).all()


def test_values_are_those_of_the_scores() -> None:
    images = pool(score(0.1, 0.5, 0.2), None, score(0.3, 0.4, 0.0))
    generator = np.random.default_rng(0)
    np.testing.assert_array_equal(by_score(images, generator), [0.1, np.nan, 0.3])
    np.testing.assert_array_equal(by_entropy(images, generator), [0.5, np.nan, 0.4])


def test_foreground_goes_first_then_what_is_not_known() -> None:
    images = pool(score(0, 0, 0.0), None, score(0, 0, 0.5))
    generator = np.random.default_rng(0)
    for _ in range(20):
        assert np.argsort(at_random_with_foreground(images, generator)).tolist() == [0, 1, 2]


def test_random_takes_every_image_equally_often() -> None:
    assert_shares(first_shares(at_random, pool(*[None] * 4)), [1, 1, 1, 1])


def values_by_acselect(images: Pool) -> list[float]:
    return by_acselect(images, np.random.default_rng(0)).tolist()


def test_acselect_takes_the_image_that_stands_for_most_however_sure_the_model_is_of_it() -> None:
    images = pool(*[score(value) for value in (0.9, 0.1, 0.5, 0.2)], gains=[0.5, 0.7, 0.0, 0.6])
    assert values_by_acselect(images) == [0.5, 0.7, 0.0, 0.6]


def test_acselect_goes_by_the_score_where_no_gain_is_known() -> None:
    images = pool(score(0.1), score(0.6), None, score(0.3), gains=[float("nan")] * 4)
    assert values_by_acselect(images) == pytest.approx([0.1, 0.6, float("nan"), 0.3], nan_ok=True)


def test_an_image_of_unknown_gain_counts_as_the_middle_one() -> None:
    images = pool(*[score(0.2)] * 4, None, gains=[1.0, float("nan"), 2.0, 3.0, 9.0])
    assert values_by_acselect(images) == pytest.approx([1.0, 2.5, 2.0, 3.0, float("nan")], nan_ok=True)


def test_a_pool_has_a_gain_for_each_image() -> None:
    with pytest.raises(InputError, match="2 scores need as many"):
        Pool([None, None], np.zeros(3))


@pytest.mark.parametrize("name", STRATEGIES)
@given(
    known=st.lists(
        st.tuples(
            st.one_of(st.none(), st.floats(0, 1, width=32)),
            st.floats(0, 1e6) | st.just(float("nan")),
        ),
        max_size=12,
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_strategy_values_every_image_and_is_a_function_of_its_seed(
    name: str, known: list[tuple[float | None, float]], seed: int
) -> None:
    images = pool(
        *(None if value is None else score(value, value, value) for value, _ in known),
        gains=[gain for _, gain in known],
    )
    values, again = (STRATEGIES[name](images, np.random.default_rng(seed)) for _ in range(2))
    assert values.shape == (len(known),)
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, again)
    # A scored image always has a value.
    assert not np.isnan(values[[value is not None for value, _ in known]]).any()
