from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from trainees import Picture, quick_config

from activefreq.errors import ActiveFreqError, CheckpointError, InputError
from activefreq.models.backbones import BACKBONES, BackboneConfig
from activefreq.models.config import ModelConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.training.batches import Mixture, make_batch
from activefreq.training.config import LossConfig, OptimizerConfig, StageConfig, TrainingConfig
from activefreq.training.engine import Progress, TrainingRun
from activefreq.training.modes import start_training
from activefreq.training.objective import Exercise, Logits, Passes, exercise_losses, make_exercise
from activefreq.training.optimization import learning_rate, make_optimizer
from activefreq.training.start import initial_model
from activefreq.training.state import load_newest_state, save_state, state_files

SHORT = {"stages": (StageConfig(3, 32),), "validate_every": 3, "validation_clicks": 1, "batch_size": 2}


def make_run(config: TrainingConfig, blobs: list[Picture], **options: Any) -> TrainingRun:
    return TrainingRun(initial_model(config), config, Mixture([blobs[:5]]), blobs[5:], **options)


def weights(run: TrainingRun) -> dict[str, torch.Tensor]:
    models = {"trained": run.model, "published": run.published}
    return {f"{kind}.{name}": v.clone() for kind, model in models.items() for name, v in model.state_dict().items()}


def assert_identical(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different


def add_dropout(run: TrainingRun) -> None:
    """Makes the training use torch's own random numbers."""
    narrow = run.model.backbone.narrow
    narrow[0] = nn.Sequential(narrow[0], nn.Dropout(0.3))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {**SHORT, "precision": "bfloat16", "workers": 2},
        {**SHORT, "precision": "float16"},
        {**SHORT, "optimizer": OptimizerConfig(name="adam", schedule="step", average=None, clip=None)},
    ],
    ids=["plain", "bfloat16", "float16", "adam"],
)
def test_a_resumed_training_ends_bit_identical(blobs: list[Picture], tmp_path: Path, changes: dict[str, Any]) -> None:
    config = quick_config(**changes)
    whole: list[Progress] = []
    straight = make_run(config, blobs, listener=whole.append)
    assert straight.run()

    told: list[Progress] = []
    for end in (1, config.steps // 2 + 1, 99):
        run = make_run(config, blobs, folder=tmp_path, listener=told.append)
        assert run.resume() == (end != 1)
        run.stop = lambda run=run, end=end: run.step == end
        assert run.run() == (end == 99)
    assert_identical(weights(straight), weights(run))
    assert told == whole
    due = range(config.validate_every, config.steps + 1, config.validate_every)
    assert [progress.step for progress in whole if progress.validation] == list(due)


def test_dropout_is_resumed_too(blobs: list[Picture], tmp_path: Path) -> None:
    config = quick_config(optimizer=OptimizerConfig(average=None), validate_every=0, stages=(StageConfig(4, 32),))
    results = []
    for ends in ([99], [2, 99]):
        folder = tmp_path / str(len(ends))
        folder.mkdir()
        for end in ends:
            run = make_run(config, blobs, folder=folder)
            add_dropout(run)
            run = TrainingRun(run.model, config, run.sources, folder=folder)
            run.resume()
            # What else draws random numbers in between is of no matter.
            torch.manual_seed(end)
            run.stop = lambda run=run, end=end: run.step == end
            run.run()
        results.append(weights(run))
    assert_identical(*results)


def test_a_damaged_newest_state_costs_steps_but_no_exactness(blobs: list[Picture], tmp_path: Path) -> None:
    config = quick_config()
    straight = make_run(config, blobs)
    straight.run()
    first = make_run(config, blobs, folder=tmp_path)
    first.stop = lambda: first.step == 6
    first.run()
    assert list(state_files(tmp_path)) == [6, 4]
    state_files(tmp_path)[6].write_bytes(b"damaged")
    second = make_run(config, blobs, folder=tmp_path)
    assert second.resume()
    assert second.step == 4
    second.run()
    assert_identical(weights(straight), weights(second))


def test_another_configuration_cannot_resume(blobs: list[Picture], tmp_path: Path) -> None:
    config = quick_config(stages=(StageConfig(2, 32),), validate_every=0)
    make_run(config, blobs, folder=tmp_path).run()
    other = dataclasses.replace(config, seed=5, optimizer=dataclasses.replace(config.optimizer, clip=None))
    with pytest.raises(InputError, match=r"another optimizer\.clip, seed"):
        make_run(other, blobs, folder=tmp_path).resume()
    assert make_run(dataclasses.replace(config, workers=3), blobs, folder=tmp_path).resume()
    for path in state_files(tmp_path).values():
        path.write_bytes(b"damaged")
    with pytest.raises(CheckpointError):
        make_run(config, blobs, folder=tmp_path).resume()


def test_what_a_listener_writes_is_never_behind_the_state(blobs: list[Picture], tmp_path: Path) -> None:
    config = quick_config(stages=(StageConfig(4, 32),))
    saved: list[list[int]] = []
    make_run(config, blobs, folder=tmp_path, listener=lambda _: saved.append(list(state_files(tmp_path)))).run()
    assert saved == [[], [], [2], [2]]
    assert list(state_files(tmp_path)) == [4, 2]


def test_the_best_validation_is_told_once(blobs: list[Picture], monkeypatch: pytest.MonkeyPatch) -> None:
    from activefreq.training.validation import ValidationResult

    scores = iter([0.5, 0.7, 0.6, 0.7])
    monkeypatch.setattr("activefreq.training.engine.validate", lambda *_, **__: ValidationResult((next(scores),), 1))
    told: list[Progress] = []
    make_run(quick_config(validate_every=2), blobs, listener=told.append).run()
    assert [progress.best for progress in told if progress.validation] == [True, True, False, False]


def test_a_loss_that_is_no_number_ends_it_and_is_not_saved(blobs: list[Picture], tmp_path: Path) -> None:
    run = make_run(quick_config(), blobs, folder=tmp_path)

    def poison(progress: Progress) -> None:
        if progress.step == 5:
            run.model.backbone.classifier.bias.data.fill_(math.nan)

    run.listener = poison
    with pytest.raises(ActiveFreqError, match="the loss of step 5 is nan"):
        run.run()
    assert list(state_files(tmp_path)) == [4, 2]


@pytest.mark.parametrize("clip", [1.0, None])
def test_a_gradient_that_is_no_number_ends_it_before_the_weights_are_lost(
    blobs: list[Picture], tmp_path: Path, clip: float | None
) -> None:
    run = make_run(quick_config(optimizer=OptimizerConfig(clip=clip)), blobs, folder=tmp_path)
    steps = 0

    def poison(gradient: torch.Tensor) -> torch.Tensor:
        nonlocal steps
        steps += 1
        return gradient * math.inf if steps == 4 else gradient

    run.model.backbone.classifier.bias.register_hook(poison)
    with pytest.raises(ActiveFreqError, match=r"the gradient of step 3 is (nan|inf)"):
        run.run()
    assert list(state_files(tmp_path)) == [2]
    assert all(value.isfinite().all() for value in run.model.state_dict().values())


def test_a_state_of_before_a_setting_was_there_is_resumed(blobs: list[Picture], tmp_path: Path) -> None:
    config = quick_config(validate_every=0, save_every=2)
    run = make_run(config, blobs, folder=tmp_path)
    run.stop = lambda: run.step == 2
    run.run()
    step, state = load_newest_state(tmp_path) or pytest.fail("there is no state")
    del state["config"]["losses"]["click_after"]
    save_state(tmp_path, step, state)
    assert make_run(config, blobs, folder=tmp_path).resume()
    later = dataclasses.replace(config, losses=LossConfig(click_after=2))
    with pytest.raises(InputError, match=r"begun with another losses\.click_after"):
        make_run(later, blobs, folder=tmp_path).resume()


def test_a_finished_training_does_nothing_more(blobs: list[Picture], tmp_path: Path) -> None:
    config = quick_config(stages=(StageConfig(2, 32),), validate_every=0)
    make_run(config, blobs, folder=tmp_path).run()
    told: list[Progress] = []
    again = make_run(config, blobs, folder=tmp_path, listener=told.append)
    assert again.resume()
    assert again.run()
    assert told == []


def test_averaging_is_the_moving_average_of_the_weights(blobs: list[Picture]) -> None:
    run = make_run(quick_config(stages=(StageConfig(3, 32),), validate_every=0), blobs)
    expected: list[torch.Tensor] = []

    def follow(_: Progress) -> None:
        now = run.model.refiner.prediction.weight.detach().clone()
        expected.append(now if not expected else 0.8 * expected[-1] + 0.2 * now)

    run.listener = follow
    run.run()
    torch.testing.assert_close(run.published.refiner.prediction.weight.detach(), expected[-1])
    assert not torch.equal(run.published.refiner.prediction.weight, run.model.refiner.prediction.weight)


def test_frozen_statistics_stay_as_they_are(blobs: list[Picture]) -> None:
    for frozen in (True, False):
        run = make_run(quick_config(frozen_statistics=frozen, stages=(StageConfig(2, 32),), validate_every=0), blobs)
        before = weights(run)
        run.run()
        after = weights(run)
        moved = [name for name in before if "running_" in name and not torch.equal(before[name], after[name])]
        assert bool(moved) is not frozen


def test_rounds_leave_no_trace_in_the_model(blobs: list[Picture]) -> None:
    config = quick_config(rounds=(0.0, 0.0, 1.0))
    model = initial_model(config)
    start_training(model, frozen_statistics=False)
    model.refiner.stem.eval()
    before = [module.training for module in model.modules()]
    statistics = {name: value.clone() for name, value in model.state_dict().items()}
    exercise = make_exercise(model, make_batch(Mixture([blobs]), config, 4), config, torch.device("cpu"))
    assert [module.training for module in model.modules()] == before
    assert_identical(statistics, model.state_dict())
    # The answer to earlier clicks is there, and each round has added a click.
    assert 0 < exercise.prompt[:, 0].mean() < 1
    assert not exercise.prompt.requires_grad


def test_without_rounds_there_is_no_previous_answer(blobs: list[Picture]) -> None:
    config = quick_config(rounds=(1.0,))
    exercise = make_exercise(
        initial_model(config), make_batch(Mixture([blobs]), config, 4), config, torch.device("cpu")
    )
    assert not exercise.prompt[:, 0].any()
    assert exercise.prompt[:, 1].flatten(1).any(dim=1).all()
    assert exercise.images.shape == (4, 3, 64, 64)
    assert exercise.focus_images.shape == (4, 3, 64, 64)
    assert set(exercise.focus_targets.unique().tolist()) <= {0.0, 1.0}


def test_the_total_is_the_weighted_sum(blobs: list[Picture]) -> None:
    config = quick_config()
    model = initial_model(config)
    exercise = make_exercise(model, make_batch(Mixture([blobs]), config, 4), config, torch.device("cpu"))
    logits = Passes(model)(exercise)
    names = ("coarse", "coarse_dice", "refined", "refined_dice", "detail")
    nothing = dict.fromkeys(names, 0.0)
    parts = {
        name: exercise_losses(logits, exercise, dataclasses.replace(config.losses, **{**nothing, name: 1.0})).total
        for name in names
    }
    expected = sum(getattr(config.losses, name) * part for name, part in parts.items())
    losses = exercise_losses(logits, exercise, config.losses)
    torch.testing.assert_close(losses.total, expected)
    torch.testing.assert_close(losses.detail, parts["detail"].detach())


def test_errors_beside_the_last_click_count_more_in_both_passes(blobs: list[Picture]) -> None:
    config = quick_config(rounds=(0.0, 1.0), losses=LossConfig(click=9.0, click_reach=6.0, click_after=1))
    model = initial_model(config)
    exercise = make_exercise(model, make_batch(Mixture([blobs]), config, 4), config, torch.device("cpu"))
    # Not every focus box of a training holds the click.
    within = (exercise.focus_places >= 0) & (exercise.focus_places < exercise.focus_targets.shape[-1])
    held = within.all(dim=1)
    assert held.any()
    exercise = Exercise(*(part[held] for part in exercise))

    right = [(target * 2 - 1) * 4.0 for target in (exercise.targets, exercise.focus_targets)]
    passes = (
        ("coarse", exercise.places, exercise.prompt[:, 1:]),
        ("refined", exercise.focus_places, exercise.disks),
    )
    for number, (name, places, disks) in enumerate(passes):
        at_click, far = torch.zeros_like(right[number]), torch.zeros_like(right[number])
        side = at_click.shape[-1]
        for index, (y, x) in enumerate(places.round().long().clamp(0, side - 1).tolist()):
            assert disks[index, :, y, x].max() > 0
            at_click[index, 0, y, x] = 1.0
            far[index, 0, side - 1 if y < side // 2 else 0, side - 1 if x < side // 2 else 0] = 1.0

        def loss(wrong: torch.Tensor, asked: Exercise = exercise, name: str = name, number: int = number) -> float:
            answers = list(right)
            answers[number] = right[number] * (1.0 - 2.0 * wrong)
            logits = Logits(answers[0], answers[1], torch.zeros_like(right[1]))
            return float(getattr(exercise_losses(logits, asked, config.losses), name))

        assert loss(at_click) > 2 * loss(far)
        early = exercise._replace(emphasis=torch.zeros_like(exercise.emphasis))
        assert loss(at_click, early) < 2 * loss(far, early)


def test_the_last_click_has_its_weight_from_the_round_on_that_was_asked_for(blobs: list[Picture]) -> None:
    for rounds, expected in (((1.0,), 0.0), ((0.0, 1.0), 0.0), ((0.0, 0.0, 1.0), 9.0)):
        config = quick_config(rounds=rounds, losses=LossConfig(click=9.0, click_after=2))
        batch = make_batch(Mixture([blobs]), config, 0)
        exercise = make_exercise(initial_model(config), batch, config, torch.device("cpu"))
        assert exercise.emphasis.tolist() == [expected] * len(batch.views)


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_weight_of_every_backbone_learns(blobs: list[Picture], name: str) -> None:
    """What gets no gradient is dead weight, and DistributedDataParallel would wait for it."""
    config = quick_config(
        model=ModelConfig(BackboneConfig(name), input_size=64, refine_size=64),
        stages=(StageConfig(1, 64),),
        rounds=(1.0,),
        batch_size=2,
    )
    model = initial_model(config)
    model.train()
    exercise = make_exercise(model, make_batch(Mixture([blobs]), config, 0), config, torch.device("cpu"))
    exercise_losses(Passes(model)(exercise), exercise, config.losses).total.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_the_optimizer_treats_encoder_norms_and_spectra_by_themselves() -> None:
    config = quick_config(optimizer=OptimizerConfig(learning_rate=1e-3, encoder_factor=0.1, weight_decay=0.05))
    model: InteractiveModel = initial_model(config)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    seen = {}
    for group in make_optimizer(model, config).param_groups:
        for parameter in group["params"]:
            seen[names[id(parameter)]] = (group["lr"], group["weight_decay"])
    assert seen.keys() == set(names.values())
    assert seen["backbone.encoder.conv_stem.weight"] == (pytest.approx(1e-4), 0.05)
    assert seen["backbone.encoder.prompt.weight"] == (1e-3, 0.05)
    assert seen["backbone.encoder.bn1.weight"] == (pytest.approx(1e-4), 0.0)
    assert seen["backbone.classifier.weight"] == (1e-3, 0.05)
    spectra = [value for name, value in seen.items() if ".filters." in name]
    assert spectra
    assert set(spectra) == {(1e-3, 0.0)}


def test_the_rate_warms_up_and_then_follows_its_schedule() -> None:
    config = quick_config(stages=(StageConfig(1200, 64),), optimizer=OptimizerConfig(learning_rate=1.0, warmup=100))
    assert learning_rate(0, config) == pytest.approx(0.01, rel=1e-3)
    assert learning_rate(600, config) == pytest.approx(0.5)
    assert learning_rate(1199, config) < 1e-5
    step = dataclasses.replace(
        config, optimizer=OptimizerConfig(learning_rate=1.0, schedule="step", warmup=0, drop_at=0.5)
    )
    assert [learning_rate(at, step) for at in (0, 599, 600, 1199)] == pytest.approx([1.0, 1.0, 0.1, 0.1])


@pytest.mark.slow
def test_a_few_images_can_be_learnt_by_heart(blobs: list[Picture]) -> None:
    config = quick_config(
        stages=(StageConfig(100, 64),),
        optimizer=OptimizerConfig(learning_rate=3e-3, warmup=10, average=0.9),
        validate_every=0,
        validation_images=4,
    )
    run = TrainingRun(initial_model(config), config, Mixture([blobs[:4]]), blobs[:4])
    before = run.validate()
    told: list[Progress] = []
    run.listener = told.append
    run.run()
    after = told[-1].validation
    assert after is not None
    assert before.miou[-1] < 0.5
    # Not the loss: normalized, it does not fall with the error.
    assert after.miou[-1] > 0.9
