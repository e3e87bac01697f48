from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from activefreq.acselect.suggestions import SuggestionConfig, candidate_regions, suggest_regions
from activefreq.clicks import Click
from activefreq.errors import InputError


def probability_with(*blobs: tuple[slice, slice, float], shape: tuple[int, int] = (20, 30)) -> np.ndarray:
    """Certain background with rectangles of other probabilities, painted in this order."""
    probability = np.zeros(shape, np.float32)
    for rows, columns, value in blobs:
        probability[rows, columns] = value
    return probability


OBJECT = np.s_[5:15, 5:15]
"""A certain object of 10 x 10 pixels."""


def test_doubt_inside_the_mask_asks_for_a_negative_click_and_outside_for_a_positive_one() -> None:
    probability = probability_with((*OBJECT, 1.0), (*np.s_[6:9, 6:9], 0.6), (*np.s_[6:11, 20:25], 0.4))
    first, second = suggest_regions(probability)
    assert (first.click, first.area, first.box) == (Click(8, 22, True), 25, (6, 20, 11, 25))
    assert (second.click, second.area, second.box) == (Click(7, 7, False), 9, (6, 6, 9, 9))
    assert first.mask.all()
    assert first.mask.shape == (5, 5)


def test_scores_are_those_of_the_paper() -> None:
    probability = probability_with((*np.s_[2:4, 2:4], 0.4))
    probability[2, 2] = 0.3
    (suggestion,) = suggest_regions(probability, config=SuggestionConfig(size="none"))

    def entropy(p: float) -> float:
        return -p * math.log(p) - (1 - p) * math.log(1 - p)

    mean = (0.3 + 3 * 0.4) / 4
    assert suggestion.mpe == pytest.approx(entropy(0.4), abs=1e-6)
    assert suggestion.ape == pytest.approx((entropy(0.3) + 3 * entropy(0.4)) / 4, abs=1e-6)
    # The most wrong pixel of a region that would be a false negative is the one of the least probability.
    assert suggestion.deviation == pytest.approx(mean - 0.3, abs=1e-6)
    assert suggestion.chance == pytest.approx(mean, abs=1e-6)
    assert suggestion.score == pytest.approx(suggestion.mpe + suggestion.ape + 1 - suggestion.deviation)


def test_the_mask_may_be_another_than_that_of_the_probability() -> None:
    """Before the first click the mask is empty: the suggestion is to begin in what the model takes for the object."""
    probability = probability_with((*OBJECT, 0.9))
    (suggestion,) = suggest_regions(
        probability, mask=np.zeros(probability.shape, bool), config=SuggestionConfig(least_chance=0.5)
    )
    assert suggestion.click.positive
    assert (suggestion.area, suggestion.box) == (100, (5, 5, 15, 15))
    assert suggestion.chance == pytest.approx(0.9)


def test_a_confirmed_region_goes_behind_a_worse_one() -> None:
    probability = probability_with((*np.s_[2:8, 2:8], 0.4), (*np.s_[12:14, 12:14], 0.3))
    clicked = np.zeros(probability.shape, bool)
    assert [s.area for s in suggest_regions(probability)] == [36, 4]
    clicked[3, 3] = True
    suggestions = suggest_regions(probability, clicked=clicked)
    assert [(s.area, s.confirmed) for s in suggestions] == [(4, False), (36, True)]


def test_a_region_that_was_clicked_all_over_is_no_suggestion() -> None:
    probability = probability_with((*np.s_[2:4, 2:3], 0.4))
    clicked = probability > 0
    assert suggest_regions(probability, clicked=clicked) == []


def test_a_model_that_is_sure_has_no_suggestion() -> None:
    assert suggest_regions(probability_with((*OBJECT, 1.0))) == []
    assert suggest_regions(np.full((8, 8), 0.95)) == []


def test_no_more_than_asked_for() -> None:
    probability = np.zeros((21, 21))
    probability[::3, ::3] = 0.4
    assert len(suggest_regions(probability, config=SuggestionConfig(limit=7))) == 7
    assert len(suggest_regions(probability)) == 5


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"least_chance": 0.0}, "least chance"),
        ({"least_chance": 0.6}, "least chance"),
        ({"least_chance": math.nan}, "least chance"),
        ({"limit": 0}, "at least 1"),
        ({"connectivity": 6}, "connectivity"),
        ({"placement": "anywhere"}, "placement"),
        ({"alpha": -1.0}, "alpha"),
    ],
)
def test_wrong_options_are_named(options: dict[str, float], named: str) -> None:
    with pytest.raises(InputError, match=named):
        SuggestionConfig(**options)


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.1])
def test_a_probability_that_is_none_is_refused(value: float) -> None:
    probability = probability_with((*OBJECT, 0.7))
    probability[0, 0] = value
    with pytest.raises(InputError, match="probabilit"):
        suggest_regions(probability)


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="mask"):
        candidate_regions(np.zeros((4, 5)), np.zeros((5, 4), bool))
    with pytest.raises(InputError, match="clicked"):
        suggest_regions(np.zeros((4, 5)), clicked=np.zeros((5, 4), bool))


PROBABILITIES = arrays(np.float64, (9, 11), elements=st.floats(0, 1))
MASKS = arrays(np.bool_, (9, 11))


@given(PROBABILITIES, MASKS, MASKS, st.sampled_from(["interior", "uncertain", "wrong"]))
def test_every_suggestion_is_a_possible_click(
    probability: np.ndarray, mask: np.ndarray, clicked: np.ndarray, placement: str
) -> None:
    config = SuggestionConfig(placement=placement)
    suggestions = suggest_regions(probability, mask=mask, clicked=clicked, config=config)
    for one in suggestions:
        y, x = one.click.y, one.click.x
        top, left, bottom, right = one.box
        assert not clicked[y, x]
        assert one.click.positive == (not mask[y, x])
        assert one.mask[y - top, x - left]
        assert one.mask.shape == (bottom - top, right - left)
        assert one.mask.sum() == one.area
        wrong = np.where(mask, 1 - probability, probability)[top:bottom, left:right][one.mask]
        assert (wrong >= config.least_chance - 1e-12).all()
        assert one.chance == pytest.approx(wrong.mean())
        assert one.confirmed == clicked[top:bottom, left:right][one.mask].any()
    keys = [(one.confirmed, -one.score) for one in suggestions]
    assert keys == sorted(keys)


@given(PROBABILITIES)
def test_foreground_and_background_are_treated_alike(probability: np.ndarray) -> None:
    """Seen the other way round, the same regions are suggested with the other sign."""
    probability = np.round(probability * 256) / 256  # 1 - p is exact then, and p = 1 - (1 - p)
    mask = probability > 0.5
    config = SuggestionConfig(limit=99)
    ours = suggest_regions(probability, mask=mask, config=config)
    theirs = suggest_regions(1 - probability, mask=~mask, config=config)
    assert sorted((s.box, s.area, not s.click.positive, round(s.score, 9)) for s in ours) == sorted(
        (s.box, s.area, s.click.positive, round(s.score, 9)) for s in theirs
    )
