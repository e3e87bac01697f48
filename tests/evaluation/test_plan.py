import os
import pickle

import numpy as np
import pytest

from activefreq.acselect.policies import AcSelectConfig, AcSelectPolicy
from activefreq.acselect.scores import ScoreConfig
from activefreq.errors import InputError
from activefreq.evaluation.plan import Plan, PolicySpec, parse_human, parse_option, parse_policy, parse_score
from activefreq.evaluation.rollout import RolloutConfig
from activefreq.evaluation.users import HumanConfig, HumanUser

STANDARD, AREA = PolicySpec("standard", "standard"), PolicySpec("area", "area")


def test_policies_are_read_from_text():
    assert parse_policy("standard", {}) == STANDARD
    spec = parse_policy("acselect:gamma=0,size=sqrt,connectivity=4", {"alpha": "0.5", "gamma": "2"})
    assert spec.label == "acselect:gamma=0,size=sqrt,connectivity=4"
    assert dict(spec.options) == {"alpha": 0.5, "gamma": 0, "size": "sqrt", "connectivity": 4}
    assert parse_policy("acselect:size=none,label=paper", {}).label == "paper"
    assert dict(parse_policy("area", {"alpha": "1"}).options) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("best", "policy must be one of"),
        ("acselect:size", "an option is KEY=VALUE, not 'size'"),
        ("acselect:size=huge", "size must be one of"),
        ("standard:size=none", "policy standard has no option 'size'"),
        ("acselect:alpha=many", "alpha must be a number of at least 0, not 'many'"),
    ],
)
def test_what_is_no_policy_is_named(text, message):
    with pytest.raises(InputError, match=message):
        parse_policy(text, {})


@pytest.mark.parametrize("text", ["", "=", "a=", "=b", "a"])
def test_what_is_no_option_is_named(text):
    with pytest.raises(InputError, match="KEY=VALUE"):
        parse_option(text)


def test_the_human_is_read_from_text():
    assert parse_human([]) == HumanConfig()
    assert parse_human(["jitter=0.5", "slip=0"]) == HumanConfig(jitter=0.5, slip=0)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["jitter=1", "mood=bad", "age=9"], "the human has the options jitter, smaller, slip, border, not mood, age$"),
        (["jitter=abc"], "human jitter must be a number of at least 0, not 'abc'"),
        (["slip"], "an option is KEY=VALUE, not 'slip'"),
    ],
)
def test_what_is_no_human_is_named(texts, message):
    with pytest.raises(InputError, match=message):
        parse_human(texts)


def test_a_score_is_read_from_the_options_of_every_acselect():
    assert parse_score({}) == ScoreConfig()
    score = parse_score({"size": "none", "beta": "0.5", "connectivity": "4", "placement": "wrong"})
    assert score == ScoreConfig(size="none", beta=0.5)
    with pytest.raises(InputError, match="policy acselect has no option 'mood'"):
        parse_score({"mood": "bad"})
    with pytest.raises(InputError, match="alpha must be a number of at least 0, not 'many'"):
        parse_score({"alpha": "many"})


def test_an_acselect_knows_what_it_ranks_by_and_no_other_policy_does():
    assert parse_policy("acselect:size=none", {"connectivity": "4"}).acselect == AcSelectConfig(
        size="none", connectivity=4
    )
    assert STANDARD.acselect is None


def test_the_score_that_is_written_down_is_the_policys_own_or_the_common_one():
    def plan(score):
        policies = (STANDARD, parse_policy("acselect:size=none", {}))
        return Plan(policies=policies, rollout=RolloutConfig(score=score))

    common, other = plan(ScoreConfig()), plan(ScoreConfig(size="log"))
    sizes = {label: settings["score"]["size"] for label, settings in other.settings()["policies"].items()}
    assert sizes == {"standard": "log", "acselect:size=none": "none"}
    assert common.entrants[0].key != other.entrants[0].key
    assert common.entrants[1].key == other.entrants[1].key


def test_every_policy_meets_every_user():
    plan = Plan(policies=(STANDARD, AREA), users=("ideal", "human"))
    assert [entrant.label for entrant in plan.entrants] == ["standard", "area", "standard (human)", "area (human)"]
    assert len({entrant.key for entrant in plan.entrants}) == 4


def test_keys_change_with_what_matters_and_with_nothing_else():
    def keys(**options):
        return [entrant.key for entrant in Plan(policies=(STANDARD,), **options).entrants]

    same = keys()
    assert keys() == same
    assert keys(thresholds=(0.5,)) == same
    assert keys(human=HumanConfig(jitter=1.0)) == same
    assert keys(users=("ideal", "human"))[0] == same[0]
    assert Plan(policies=(AREA, PolicySpec("renamed", "standard"))).entrants[1].key == same[0]
    others = [
        keys(seed=1),
        keys(rollout=RolloutConfig(max_clicks=3)),
        keys(backend={"checkpoint": "abc"}),
        keys(program="0123456789abcdef"),
        keys(users=("human",)),
        keys(users=("human",), human=HumanConfig(jitter=1.0)),
    ]
    assert len({tuple(key) for key in [*others, same]}) == 7


def test_people_are_the_same_again_and_differ_between_images():
    plan = Plan(policies=(PolicySpec("random", "random"),), users=("ideal", "human"))
    ideal, human = plan.entrants
    assert isinstance(plan.person(human, "a"), HumanUser)
    prediction = np.zeros((9, 99), bool)
    prediction[::2, ::2] = True
    case = (prediction * 0.9, prediction, np.zeros_like(prediction), np.zeros_like(prediction))

    def course(image):
        person = plan.person(ideal, image)
        return [person.next_click(*case) for _ in range(5)]

    assert course("a") == course("a") != course("b")


def test_options_reach_the_policy():
    plan = Plan(policies=(PolicySpec("x", "acselect", {"size": "log"}),))
    person = plan.person(plan.entrants[0], "a")
    assert isinstance(person, AcSelectPolicy)
    assert person.config.size == "log"


def test_a_plan_can_be_sent_to_another_process():
    plan = Plan(policies=(parse_policy("acselect:size=log", {}), STANDARD), backend={"weights": "x"})
    assert pickle.loads(pickle.dumps(plan)).entrants == plan.entrants


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policies": ()}, "needs a policy"),
        ({"policies": (STANDARD, STANDARD)}, "two policies are called 'standard'"),
        (
            {"policies": (STANDARD, PolicySpec("standard (human)", "standard")), "users": ("ideal", "human")},
            r"two policies are called 'standard \(human\)'",
        ),
        ({"thresholds": ()}, "IoU threshold"),
        ({"thresholds": (0.0,)}, "thresholds lie above 0 and up to 1, not at 0.0"),
        ({"thresholds": (85.0,)}, "not at 85.0"),
        ({"thresholds": (0.9, 0.8)}, "must ascend"),
        ({"users": ("robot",)}, "user must be one of ideal, human, not 'robot'"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_plans_that_make_no_sense_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Plan(**{"policies": (STANDARD,), **options})


def test_a_name_of_any_bytes_has_random_numbers_of_its_own():
    """As file names of other encodings than UTF-8 come."""
    plan = Plan(policies=(PolicySpec("random", "random"),))
    (entrant,) = plan.entrants
    empty, target = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    target[::4, ::4] = True  # 256 regions, all wrong in a mask that is full
    wrong = ~target

    def click(name):
        return plan.person(entrant, os.fsdecode(name)).next_click(wrong * 1.0, wrong, target, empty, trial=None)

    assert click(b"l\xe4sion") == click(b"l\xe4sion")
    assert click(b"l\xe4sion") != click(b"l\xe5sion")
