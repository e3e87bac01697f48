import numpy as np
import pytest

from activefreq.acselect.policies import make_policy
from activefreq.clicks import Click
from activefreq.data.borders import moved_border
from activefreq.errors import InputError
from activefreq.evaluation.users import HumanConfig, HumanUser

EXACT = {"jitter": 0.0, "smaller": 0.0, "slip": 0.0, "border": 0.0}


@pytest.fixture
def situation():
    """Probability, prediction, target, clicked: a large missed disk and a smaller excess square."""
    y, x = np.mgrid[:60, :60]
    target = (y - 30) ** 2 + (x - 20) ** 2 <= 15**2
    prediction = (abs(y - 30) <= 5) & (abs(x - 50) <= 5)
    return np.where(prediction, 0.9, 0.1), prediction, target, np.zeros_like(target)


def clicks_of(situation, count=400, **config):
    config = HumanConfig(**{**EXACT, **config})
    return [
        HumanUser(make_policy("standard"), seed=seed, config=config).next_click(*situation) for seed in range(count)
    ]


def test_without_faults_a_human_is_the_policy(situation):
    assert set(clicks_of(situation, count=20)) == {make_policy("standard").next_click(*situation)}


def test_jitter_has_the_size_it_is_given_and_stays_in_the_region(situation):
    clicks = clicks_of(situation, jitter=0.2)
    _, _, target, _ = situation
    assert all(target[click.y, click.x] and click.positive for click in clicks)
    offsets = np.array([(click.y - 30, click.x - 20) for click in clicks])
    assert offsets.std() == pytest.approx(0.2 * np.sqrt(target.sum() / np.pi), rel=0.1)
    assert abs(offsets.mean()) < 0.3


def test_some_clicks_go_to_another_region(situation):
    clicks = clicks_of(situation, smaller=0.25)
    others = [click for click in clicks if not click.positive]
    assert set(others) == {Click(30, 50, positive=False)}
    assert len(others) / len(clicks) == pytest.approx(0.25, abs=0.07)


def test_slips_have_the_wrong_sign(situation):
    clicks = clicks_of(situation, slip=0.25)
    assert {(click.y, click.x) for click in clicks} == {(30, 20)}
    assert sum(not click.positive for click in clicks) / len(clicks) == pytest.approx(0.25, abs=0.07)


def test_a_human_is_content_with_what_they_see(situation):
    probability, _, target, clicked = situation
    seen = moved_border(target, 0.1, np.random.default_rng(5))
    assert (seen != target).any()
    human = HumanUser(make_policy("standard"), seed=5, config=HumanConfig(**{**EXACT, "border": 0.1}))
    assert human.next_click(probability, seen, target, clicked) is None


def test_a_human_repeats_with_their_seed(situation):
    def course():
        human = HumanUser(make_policy("random", seed=1), seed=[4, 2])
        return [human.next_click(*situation) for _ in range(10)]

    assert course() == course()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jitter": -1}, "jitter must be a number of at least 0, not -1"),
        ({"jitter": "abc"}, "jitter must be a number of at least 0, not 'abc'"),
        ({"border": float("nan")}, "border must be a number of at least 0, not nan"),
        ({"slip": 1.5}, "slip must be a share from 0 to 1, not 1.5"),
        ({"smaller": "half"}, "smaller must be a share from 0 to 1, not 'half'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        HumanConfig(**options)
