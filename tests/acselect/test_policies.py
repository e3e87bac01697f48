import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pictures import draw_errors

from activefreq.acselect.clicker import standard_click
from activefreq.acselect.policies import POLICIES, AcSelectConfig, make_policy
from activefreq.clicks import Click
from activefreq.errors import InputError

# A thin long missed region (7 pixels, depth 1), an excess square (4 pixels, depth 1), a missed pixel, and a
# missed plus sign (5 pixels, depth sqrt 2).
PICTURE = """
    +++++++
    .......
    --...+.
    --..+++
    .....+.
    .......
    +.##...
"""
BAR, SQUARE, PLUS, PIXEL = Click(0, 0), Click(2, 0, positive=False), Click(3, 5), Click(6, 0)


@pytest.fixture
def case():
    """Probability, prediction, target and clicked; entropy is highest in the one-pixel region."""
    prediction, target = draw_errors(PICTURE)
    p = np.where(prediction, 0.875, 0.125)
    p[2:4, :2] = 0.6
    p[2:5, 4:] = np.where(target[2:5, 4:], 0.2, 0.125)
    p[3, 5] = 0.05
    p[6, 0] = 0.5
    return p, prediction, target, np.zeros((7, 7), bool)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("standard", {}, PLUS),
        ("area", {}, BAR),
        ("entropy", {}, PIXEL),
        ("least-confidence", {}, PIXEL),
        # As written the score takes the sliver: the highest entropy, and perfectly consistent.
        ("acselect", {"size": "none"}, PIXEL),
        # Times the pixels: bar 7 (2 * 0.377 + 1) = 12.3, square 4 (2 * 0.673 + 1) = 9.4, plus < 5 * 2, pixel
        # 2.4.
        ("acselect", {"size": "linear"}, BAR),
        # Only entropy times pixels: square 4 * 0.673 = 2.69, bar 7 * 0.377 = 2.64, plus < 5 * 0.5, pixel
        # 0.69.
        ("acselect", {"alpha": 0, "beta": 1, "gamma": 0, "size": "linear"}, SQUARE),
        # The plus is the only region whose pixels differ.
        ("acselect", {"alpha": 0, "beta": 0, "gamma": 1, "rgu": "inconsistency", "size": "none"}, PLUS),
        # Three regions are perfectly consistent, and the bar is the first of them.
        ("acselect", {"alpha": 0, "beta": 0, "gamma": 1, "size": "none"}, BAR),
    ],
)
def test_choices_by_hand(case, name, options, expected):
    assert make_policy(name, **options).next_click(*case) == expected


def test_random_takes_every_region_and_repeats_with_its_seed(case):
    seen = {make_policy("random", seed=seed).next_click(*case) for seed in range(60)}
    assert seen == {BAR, SQUARE, PLUS, PIXEL}
    first, second = (make_policy("random", seed=[3, 7]) for _ in range(2))
    assert [first.next_click(*case) for _ in range(20)] == [second.next_click(*case) for _ in range(20)]


def test_oracle_keeps_the_click_with_the_best_answer(case):
    _, prediction, target, _ = case
    tried = []

    def trial(clicks):
        tried.extend(clicks)
        # Only a click on the plus mends anything.
        return [target if click == PLUS else prediction for click in clicks]

    assert make_policy("oracle").next_click(*case, trial=trial) == PLUS
    assert tried == [BAR, PLUS, SQUARE, PIXEL]


def test_oracle_is_bounded_and_prefers_large_regions_when_nothing_helps(case):
    _, prediction, _, _ = case
    asked = []

    def trial(clicks):
        asked.append(len(clicks))
        return [prediction for _ in clicks]

    assert make_policy("oracle", candidates=2).next_click(*case, trial=trial) == BAR
    assert asked == [2]


def test_oracle_cannot_do_without_a_trial(case):
    with pytest.raises(InputError, match="needs a trial"):
        make_policy("oracle").next_click(*case)


def test_connectivity_divides_regions_that_touch_at_corners():
    prediction, target = draw_errors("""
        ++.....
        ++.....
        ..++...
        ..++...
        .......
        .---...
        .---...
    """)
    p = np.where(prediction, 0.8, 0.2)
    nothing = np.zeros_like(target)
    joined = make_policy("acselect", connectivity=8, size="linear")
    divided = make_policy("acselect", connectivity=4, size="linear")
    assert joined.next_click(p, prediction, target, nothing) == Click(0, 0)
    assert divided.next_click(p, prediction, target, nothing) == Click(5, 1, positive=False)


def answer_nothing(clicks):
    return [np.zeros((7, 7), bool) for _ in clicks]


@pytest.mark.parametrize("name", POLICIES)
def test_first_click_is_that_of_the_standard_clicker(name):
    _, target = draw_errors(PICTURE)
    nothing = np.zeros((7, 7), bool)
    click = make_policy(name).next_click(np.zeros((7, 7), np.float32), nothing, target, nothing, trial=answer_nothing)
    assert click == standard_click(nothing, target, nothing)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("value", [False, True])
def test_nothing_mislabeled_nothing_clicked(name, value):
    mask = np.full((7, 7), value)
    nothing = np.zeros((7, 7), bool)
    assert make_policy(name).next_click(mask.astype(float), mask, mask, nothing, trial=answer_nothing) is None


@pytest.mark.parametrize("name", POLICIES)
def test_a_full_target_with_nothing_found_and_an_empty_one_with_everything_found(name):
    full, empty = np.ones((7, 7), bool), np.zeros((7, 7), bool)
    policy = make_policy(name)
    assert policy.next_click(full * 0.2, empty, full, empty, trial=answer_nothing) == Click(3, 3)
    assert policy.next_click(full * 0.8, full, empty, empty, trial=answer_nothing) == Click(3, 3, positive=False)


@pytest.mark.parametrize("name", POLICIES)
def test_a_pixel_clicked_in_vain_is_not_clicked_again(name):
    target, clicked, nothing = (np.zeros((7, 7), bool) for _ in range(3))
    target[2, 2] = True
    policy = make_policy(name)
    assert policy.next_click(target * 0.4, nothing, target, clicked, trial=answer_nothing) == Click(2, 2)
    clicked[2, 2] = True
    assert policy.next_click(target * 0.4, nothing, target, clicked, trial=answer_nothing) is None


@given(
    hnp.arrays(np.uint8, (7, 7), elements=st.integers(0, 3)),
    hnp.arrays(np.float32, (7, 7), elements=st.floats(0, 1, width=32)),
    hnp.arrays(bool, (7, 7)),
    st.sampled_from(POLICIES),
)
def test_every_click_mends_a_pixel_that_is_wrong_and_new(codes, p, clicked, name):
    prediction, target = codes % 2 == 1, codes >= 2
    click = make_policy(name).next_click(p, prediction, target, clicked, trial=answer_nothing)
    if click is None:
        assert not ((prediction != target) & ~clicked).any()
    else:
        assert target[click.y, click.x] == click.positive
        assert prediction[click.y, click.x] != click.positive
        assert not clicked[click.y, click.x]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("best", {}, "policy must be one of standard, random, .*, not 'best'"),
        ("standard", {"alpha": 1}, "policy standard has no option 'alpha'"),
        ("acselect", {"alhpa": 1}, "policy acselect has no option 'alhpa'"),
        ("acselect", {"connectivity": 6}, "connectivity must be 4 or 8, not 6"),
        ("acselect", {"placement": "edge"}, "placement must be one of .*, not 'edge'"),
        ("oracle", {"candidates": 0}, "at least 1, not 0"),
        ("oracle", {"candidates": 2.5}, "whole number of candidates, at least 1, not 2.5"),
        ("oracle", {"candidates": "abc"}, "at least 1, not .abc."),
    ],
)
def test_wrong_names_and_options_are_named(name, options, message):
    with pytest.raises(InputError, match=message):
        make_policy(name, **options)


def test_every_region_score_option_is_an_option_of_the_policy():
    assert AcSelectConfig(alpha=0, size="sqrt", connectivity=4).size == "sqrt"
