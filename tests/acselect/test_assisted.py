from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from activefreq.acselect.assisted import ENTROPY_ONLY, AssistedPolicy, is_right
from activefreq.acselect.clicker import standard_click
from activefreq.acselect.suggestions import SuggestionConfig, suggest_regions
from activefreq.clicks import Click

NOWHERE = np.zeros((20, 30), bool)


def case() -> tuple[np.ndarray, np.ndarray]:
    """A probability with three doubtful regions, and a truth in which only the least of them is wrong."""
    probability = np.zeros((20, 30))
    probability[5:15, 5:15] = 1.0
    probability[2:8, 20:26] = 0.4
    probability[6:10, 6:10] = 0.6
    probability[16:18, 2:4] = 0.4
    target = probability > 0.5
    target[16:18, 2:4] = True
    return probability, target


def test_the_truth_vetoes_what_is_wrong() -> None:
    probability, target = case()
    policy = AssistedPolicy()
    click = policy.next_click(probability, probability > 0.5, target, NOWHERE)
    assert click is not None
    assert click.positive
    assert (16 <= click.y < 18, 2 <= click.x < 4) == (True, True)
    assert (policy.suggested, policy.vetoed, policy.unaided) == (1, 2, 0)


def test_looks_without_help_where_no_suggestion_is_right() -> None:
    probability, target = case()
    target[16:18, 2:4] = False
    target[12:18, 20:28] = True  # an error of which the model is sure
    policy = AssistedPolicy()
    click = policy.next_click(probability, probability > 0.5, target, NOWHERE)
    assert click == standard_click(probability > 0.5, target, NOWHERE)
    assert (policy.suggested, policy.vetoed, policy.unaided) == (0, 3, 1)


def test_begins_as_the_standard_clicker_does() -> None:
    _, target = case()
    policy = AssistedPolicy()
    click = policy.next_click(np.zeros(target.shape), NOWHERE, target, NOWHERE)
    assert click == standard_click(NOWHERE, target, NOWHERE)
    assert policy.unaided == 0


def test_a_perfect_mask_needs_no_click() -> None:
    probability, _ = case()
    assert AssistedPolicy().next_click(probability, probability > 0.5, probability > 0.5, NOWHERE) is None


def test_entropy_alone_does_not_look_at_the_size() -> None:
    probability = np.zeros((20, 30))
    probability[0:8, 0:8] = 0.4
    probability[12:13, 12:14] = 0.45
    assert [one.area for one in suggest_regions(probability)] == [64, 2]
    assert [one.area for one in suggest_regions(probability, config=ENTROPY_ONLY)] == [2, 64]


@given(
    arrays(np.float64, (8, 9), elements=st.floats(0, 1)),
    arrays(np.bool_, (8, 9)),
    arrays(np.bool_, (8, 9)),
    st.sampled_from([SuggestionConfig(), ENTROPY_ONLY]),
)
def test_every_click_mends_something_that_was_not_clicked(
    probability: np.ndarray, target: np.ndarray, clicked: np.ndarray, config: SuggestionConfig
) -> None:
    prediction = probability > 0.5
    click = AssistedPolicy(config).next_click(probability, prediction, target, clicked)
    if click is None:
        assert not ((prediction != target) & ~clicked).any()
    else:
        assert not clicked[click.y, click.x]
        assert target[click.y, click.x] == click.positive != prediction[click.y, click.x]


@pytest.mark.parametrize(("sign", "truth", "right"), [(True, True, True), (True, False, False)])
def test_right_is_a_mislabeled_pixel_with_the_mending_sign(sign: bool, truth: bool, right: bool) -> None:
    probability = np.zeros((5, 5))
    probability[1:3, 1:3] = 0.4
    (suggestion,) = suggest_regions(probability)
    assert suggestion.click == Click(suggestion.click.y, suggestion.click.x, sign)
    assert is_right(suggestion, probability > 0.5, np.full((5, 5), truth)) == right
