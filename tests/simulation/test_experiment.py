from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from blobs import blobs

from activefreq.acselect.ranking import ImageScore
from activefreq.errors import InputError
from activefreq.models.checkpoint import Checkpoint
from activefreq.models.interactive import InteractiveModel
from activefreq.simulation.config import SimulationConfig
from activefreq.simulation.experiment import Course, choose, simulate
from activefreq.simulation.journal import RoundResult
from activefreq.simulation.readout import ReadoutLearner
from activefreq.simulation.trainee import Learner, NetworkLearner, Outlook, with_input_of

CPU = torch.device("cpu")
QUICK = SimulationConfig(
    initial=2, per_round=2, steps=2, batch_size=2, size=64, max_clicks=2, test_clicks=2, learning_rate=1e-3
)


POOL, TEST = blobs(0, 9), blobs(20, 2)


@pytest.fixture
def start(tiny_model: InteractiveModel) -> Checkpoint:
    return Checkpoint(tiny_model)


def run(
    course: Course,
    start: Checkpoint,
    folder: Path,
    listener: Callable[[RoundResult], None] | None = None,
    *,
    learner: Learner | None = None,
) -> list[RoundResult]:
    folder.mkdir(exist_ok=True)
    return simulate(course, learner or NetworkLearner(start, QUICK, CPU), POOL, TEST, QUICK, folder, listener=listener)


def test_every_strategy_labels_more_and_begins_alike(start: Checkpoint, tmp_path: Path) -> None:
    results = run(Course(("acselect", "random"), 2, (0, 1)), start, tmp_path)
    keys = [result.key for result in results]
    assert keys == [(seed, name, r) for seed in (0, 1) for name in ("acselect", "random") for r in range(3)]
    found = {result.key: result for result in results}
    names = {sample.name for sample in POOL}
    for (seed, strategy, round_), result in found.items():
        assert len(set(result.labelled)) == len(result.labelled) == 2 + 2 * round_
        assert set(result.labelled) <= names
        assert 0 < result.clicks <= QUICK.max_clicks * len(result.labelled)
        assert result.figures["miou"] == pytest.approx((result.figures["miou@1"] + result.figures["miou@2"]) / 2)
        assert all(0 <= result.figures[f"miou@{k}"] <= 1 for k in range(3))
        assert 1 <= result.figures["noc@80"] <= result.figures["noc@85"] <= QUICK.test_clicks
        if round_:
            before = found[seed, strategy, round_ - 1]
            assert result.labelled == before.labelled + before.chosen
            assert result.clicks == before.clicks + before.chosen_clicks
    for seed in (0, 1):
        first, other = found[seed, "acselect", 0], found[seed, "random", 0]
        assert (first.labelled, first.clicks, first.figures) == (other.labelled, other.clicks, other.figures)
    assert found[0, "random", 0].labelled != found[1, "random", 0].labelled


def test_an_interrupted_simulation_goes_on_with_the_same_results(start: Checkpoint, tmp_path: Path) -> None:
    course = Course(("acselect", "random"), 1, (0,))
    whole = run(course, start, tmp_path / "whole")
    lines = (tmp_path / "whole" / "rounds.jsonl").read_text().splitlines()
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "rounds.jsonl").write_text("\n".join([*lines[:3], lines[3][:40]]))
    told: list[RoundResult] = []
    assert run(course, start, tmp_path / "cut", told.append) == whole
    assert [result.key for result in told] == [(0, "acselect", 1), (0, "random", 1)]
    assert run(course, start, tmp_path / "cut", told.append) == whole
    assert len(told) == 2


def test_more_rounds_and_strategies_change_nothing_of_what_was_done(start: Checkpoint, tmp_path: Path) -> None:
    run(Course(("random",), 1, (0,)), start, tmp_path / "grown")
    course = Course(("random", "entropy"), 2, (0,))
    assert run(course, start, tmp_path / "grown") == run(course, start, tmp_path / "whole")


def test_the_start_is_not_changed_and_training_is_repeatable(start: Checkpoint) -> None:
    before = {name: value.clone() for name, value in start.model.state_dict().items()}
    learner = NetworkLearner(start, QUICK, CPU)
    one, two = (learner.train(POOL[:3], seed=1) for _ in range(2))
    assert all(torch.equal(before[name], value) for name, value in start.model.state_dict().items())
    image = TEST[0].image
    np.testing.assert_array_equal(one.probability(image), two.probability(image))
    assert not np.array_equal(one.probability(image), learner.beginner().probability(image))


def test_a_read_out_goes_the_same_course(start: Checkpoint, tmp_path: Path) -> None:
    course = Course(("acselect", "random"), 2, (0,))
    learner = ReadoutLearner(start, POOL, QUICK, CPU)
    results = run(course, start, tmp_path, learner=learner)
    assert [len(result.labelled) for result in results] == [2, 4, 6] * 2
    assert all(set(result.figures) == {"miou@0"} for result in results)
    # What an image costs does not depend on the read-out.
    costs = {name: learner.annotation_clicks(sample) for sample in POOL for name in [sample.name]}
    for result in results:
        assert result.clicks == sum(costs[name] for name in result.labelled)


def test_the_size_is_the_networks(start: Checkpoint) -> None:
    resized = with_input_of(start, 96)
    assert (resized.model.config.input_size, resized.model.config.refine_size) == (96, 96)
    assert start.model.config.input_size == 64


def outlook(values: Sequence[float], embeddings: np.ndarray | None = None) -> Outlook:
    scores = tuple(ImageScore(value, 1 - value, 0.0, 0) for value in values)
    return Outlook(scores, np.zeros((len(scores), 2), np.float32) if embeddings is None else embeddings)


NOTHING = np.empty((0, 2), np.float32)


def test_a_choice_is_the_apps_order_and_a_function_of_its_seed() -> None:
    four = outlook([0.2, 0.9, 0.4, 0.4])
    assert choose("acselect_score", four, NOTHING, 3, seed=0, round_=0) == [1, 2, 3]
    assert choose("entropy", four, NOTHING, 2, seed=5, round_=1) == [0, 2]
    twenty = outlook([0.2, 0.9, 0.4, 0.4] * 5)
    draws = {
        (seed, round_): choose("random", twenty, NOTHING, 4, seed=seed, round_=round_)
        for seed in (0, 1)
        for round_ in (0, 1)
    }
    assert draws[0, 0] == choose("random", twenty, NOTHING, 4, seed=0, round_=0)
    assert len({tuple(draw) for draw in draws.values()}) == 4
    assert all(len(set(draw)) == 4 for draw in draws.values())


@pytest.mark.parametrize("seed", range(8))
def test_what_was_chosen_in_a_round_counts_as_seen(seed: int) -> None:
    """Three clusters, one of them with a label: one image of each other is chosen before a second of any."""
    places = np.repeat(np.array([[0, 0], [9, 0], [0, 9]], np.float32), 3, axis=0)
    chosen = choose("acselect", outlook([0.5] * 9, places), places[:1], 2, seed=seed, round_=0)
    assert {place // 3 for place in chosen} == {1, 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategies": ("best",)}, "strategy must be one of"),
        ({"strategies": ()}, "different"),
        ({"rounds": 0}, "round"),
    ],
)
def test_a_course_that_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(Course(("random",), 1, (0,)), **change)


def test_a_pool_that_is_too_small_is_refused(start: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="10 images would be labelled, but the pool has 9"):
        run(Course(("random",), 4, (0,)), start, tmp_path)


@pytest.mark.parametrize(
    ("name", "value"), [("steps", 0), ("size", 100), ("target_iou", 0.0), ("learning_rate", float("nan"))]
)
def test_wrong_options_are_named(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        dataclasses.replace(QUICK, **{name: value})
