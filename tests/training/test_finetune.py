from __future__ import annotations

import dataclasses
import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from activefreq.data.discovery import find_samples
from activefreq.data.pairs import Pair
from activefreq.data.samples import SampleReference, SampleSource
from activefreq.errors import ActiveFreqError, InputError
from activefreq.models.checkpoint import Checkpoint, load_checkpoint
from activefreq.models.config import ModelConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.session.state import PreparedImage
from activefreq.session.step import CoarseQuestion, unprompted_question
from activefreq.training import objective
from activefreq.training.finetune import FinetuneConfig, FinetuneProgress, finetune, hold_out
from activefreq.training.validation import ValidationResult

if TYPE_CHECKING:
    from conftest import Folders

QUICK = FinetuneConfig(epochs=2, views=2, batch_size=2, validation_clicks=2, workers=0)


def references(groups: list[str]) -> SampleSource:
    """Samples that are never read, of the groups named."""
    pair = Pair("a", Path("a.png"), Path("a.png"))
    return SampleSource(SampleReference(f"{group}#{number}", group, pair, 0) for number, group in enumerate(groups))


@given(st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=30), st.sampled_from([0.1, 0.2, 0.5, 0.9]))
def test_parts_are_whole_and_neither_is_ever_empty(groups: list[str], share: float) -> None:
    samples = references(groups)
    training, validation, validated_on = hold_out(samples, share)
    assert len(training)
    assert len(validation)
    if validated_on == "training images":
        assert training.names == validation.names == samples.names
    else:
        assert sorted(training.names + validation.names) == sorted(samples.names)
    if len(set(groups)) > 1:
        assert validated_on == "held-out groups"
        assert not set(training.groups) & set(validation.groups)


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=24),
    st.lists(st.integers(1, 4), min_size=1, max_size=8),
    st.sampled_from([0.0, 0.2, 0.5, 0.9]),
)
def test_no_image_that_was_trained_on_is_held_out_later(groups: list[str], more: list[int], share: float) -> None:
    """Rounds of labelling a few images more and fine-tuning, down to one image in the first."""
    whole = references(groups)
    seen: tuple[str, ...] = ()
    for count in np.minimum(np.cumsum(more), len(whole)):
        training, validation, validated_on = hold_out(whole.subset(range(count)), share, seen=seen)
        assert len(training)
        assert len(validation)
        if validated_on != "training images":
            assert not set(validation.names) & {*seen, *training.names}
            assert sorted(training.names + validation.names) == sorted(whole.names[:count])
        elif share > 0:
            assert set(whole.names[:count]) <= {*seen, whole.names[0]}
        seen = (*seen, *training.names)


def test_patients_that_were_trained_on_are_not_held_out_with_their_new_slices() -> None:
    samples = references(["a", "a", "b", "b"])
    training, validation, validated_on = hold_out(samples, 0.9, seen=["a#0"])
    assert (training.groups, validation.groups) == (("a", "a"), ("b", "b"))
    assert validated_on == "held-out groups"
    # Where every patient was: slices that were not.
    training, validation, validated_on = hold_out(samples, 0.9, seen=["a#0", "b#2"])
    assert (training.names, validation.names) == (("a#0", "b#2"), ("a#1", "b#3"))
    assert validated_on == "held-out slices"
    assert hold_out(samples, 0.2, seen=samples.names)[2] == "training images"


def test_labelling_more_moves_no_held_out_image_about() -> None:
    names = [f"patient{number}" for number in range(60)]
    _, few, _ = hold_out(references(names[:30]), 0.2)
    _, many, _ = hold_out(references(names), 0.2)
    assert set(few.groups) < set(many.groups)


def test_what_is_held_out_is_about_the_share_that_was_asked_for() -> None:
    training, validation, _ = hold_out(references([f"patient{number}" for number in range(1000)]), 0.2)
    assert len(validation) == pytest.approx(200, abs=40)
    assert len(training) + len(validation) == 1000


def test_slices_of_one_volume_are_divided_and_a_single_image_is_validated_on_itself() -> None:
    assert hold_out(references(["a", "a", "a"]), 0.2)[2] == "held-out slices"
    assert hold_out(references(["a"]), 0.2)[2] == "training images"
    assert hold_out(references(["a", "b"]), 0.0)[2] == "training images"


def test_the_answer_to_no_click_is_learned_too(
    studies_folder: Path, tiny_model: InteractiveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[CoarseQuestion] = []

    def noted(image: PreparedImage, shape: ModelConfig) -> CoarseQuestion:
        asked.append(unprompted_question(image, shape))
        return asked[-1]

    monkeypatch.setattr(objective, "unprompted_question", noted)
    config = dataclasses.replace(QUICK, epochs=25)
    result = finetune(Checkpoint(tiny_model), find_samples(studies_folder), config, device="cpu")
    views = result.steps * config.batch_size
    assert 0.03 * views < len(asked) < 0.15 * views


def test_three_images_are_enough(studies_folder: Path, tiny_model: InteractiveModel, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in tiny_model.state_dict().items()}
    told: list[FinetuneProgress] = []
    target = tmp_path / "model.pt"
    base = Checkpoint(tiny_model, info={"recipe": "tiny"})
    result = finetune(base, find_samples(studies_folder), QUICK, publish=target, device="cpu", listener=told.append)

    assert (len(result.training), len(result.validation)) == (2, 1)
    assert (result.steps, result.epochs, result.stopped) == (4, 2, False)
    assert [progress.step for progress in told] == [1, 2, 3, 4]
    assert [progress.epoch for progress in told] == [1, 1, 2, 2]
    assert [progress.validation is not None for progress in told] == [False, True, False, True]
    assert result.losses[0] == pytest.approx((told[0].loss + told[1].loss) / 2)
    assert all(torch.equal(before[name], value) for name, value in tiny_model.state_dict().items())
    assert result.best is not None
    assert result.published == (result.best.score >= result.before.score) == target.exists()
    assert json.loads(json.dumps(result.stats(), allow_nan=False))["miou_before"] == pytest.approx(
        result.before.miou, abs=1e-4
    )


def test_a_batch_is_no_larger_than_an_epoch(studies_folder: Path, tiny_model: InteractiveModel) -> None:
    huge = dataclasses.replace(QUICK, batch_size=10**12)
    told: list[FinetuneProgress] = []
    result = finetune(Checkpoint(tiny_model), find_samples(studies_folder), huge, device="cpu", listener=told.append)
    whole = dataclasses.replace(QUICK, batch_size=len(result.training) * QUICK.views)
    again = finetune(Checkpoint(tiny_model), find_samples(studies_folder), whole, device="cpu")
    assert (result.steps, result.losses) == (QUICK.epochs, again.losses)


@pytest.mark.parametrize("better", [True, False])
def test_only_what_did_not_get_worse_is_published(
    studies_folder: Path,
    tiny_model: InteractiveModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    better: bool,
) -> None:
    scores = iter([0.5, 0.6, 0.5] if better else [0.5, 0.4, 0.49])
    weights: list[torch.Tensor] = []

    def validate(model: InteractiveModel, *_: object, **__: object) -> ValidationResult:
        weights.append(model.refiner.prediction.weight.detach().clone())
        return ValidationResult((next(scores),), 1)

    monkeypatch.setattr("activefreq.training.engine.validate", validate)
    target = tmp_path / "model.pt"
    target.write_bytes(b"as served")
    result = finetune(Checkpoint(tiny_model), find_samples(studies_folder), QUICK, publish=target, device="cpu")
    assert result.published is better
    if better:
        published = load_checkpoint(target).model.refiner.prediction.weight
        assert torch.equal(published, weights[1])
        assert not torch.equal(weights[1], weights[0])
        assert not torch.equal(weights[1], weights[2])
        assert "0.5000 before and is 0.6000 after" in result.reason
    else:
        assert target.read_bytes() == b"as served"
        assert "got worse" in result.reason


def test_batch_normalization_keeps_its_statistics(
    studies_folder: Path, tiny_model: InteractiveModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activefreq.training.engine.validate", lambda *_, **__: ValidationResult((0.5,), 1))
    target = tmp_path / "model.pt"
    finetune(Checkpoint(tiny_model), find_samples(studies_folder), QUICK, publish=target, device="cpu")
    after = load_checkpoint(target).model.state_dict()
    assert not torch.equal(tiny_model.state_dict()["refiner.stem.0.weight"], after["refiner.stem.0.weight"])
    for name, value in tiny_model.state_dict().items():
        if "running_" in name:
            assert torch.equal(after[name], value), name


def test_a_stop_request_ends_it_after_the_step(studies_folder: Path, tiny_model: InteractiveModel) -> None:
    steps: list[int] = []
    result = finetune(
        Checkpoint(tiny_model),
        find_samples(studies_folder),
        dataclasses.replace(QUICK, epochs=50),
        device="cpu",
        listener=lambda progress: steps.append(progress.step),
        stop=lambda: len(steps) == 1,
    )
    assert result.stopped
    assert result.steps == 1
    assert not result.published
    assert result.best is None
    assert "before its first validation" in result.reason
    json.dumps(result.stats(), allow_nan=False)


def test_it_ends_early_when_the_validation_stays_as_it_is(
    studies_folder: Path, tiny_model: InteractiveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activefreq.training.engine.validate", lambda *_, **__: ValidationResult((0.5,), 1))
    config = dataclasses.replace(QUICK, epochs=50, patience=2)
    result = finetune(Checkpoint(tiny_model), find_samples(studies_folder), config, device="cpu")
    assert result.stopped
    assert result.epochs == 3


@pytest.mark.parametrize("scores", [(0.5, 0.6), (0.5, 0.4)])
def test_what_proved_better_stays_published_however_it_ends(
    studies_folder: Path,
    tiny_model: InteractiveModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scores: tuple[float, float],
) -> None:
    told: list[FinetuneProgress] = []
    remaining = iter(scores)
    better = scores[1] > scores[0]
    target = tmp_path / "model.pt"

    def raises(progress: FinetuneProgress) -> None:
        told.append(progress)
        assert target.exists() == progress.published == (better and progress.step >= 2)
        if progress.step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("activefreq.training.engine.validate", lambda *_, **__: ValidationResult((next(remaining),), 1))
    samples = find_samples(studies_folder)
    with pytest.raises(KeyboardInterrupt):
        finetune(Checkpoint(tiny_model), samples, QUICK, publish=target, device="cpu", listener=raises)
    assert len(told) == 3
    if better:
        notes = load_checkpoint(target).info["finetuned"]
        assert notes["miou"] == [0.6]
        assert (notes["config"]["epochs"], notes["config"]["seed"]) == (QUICK.epochs, QUICK.seed)
        assert notes["packages"]["torch"] == version("torch")
        assert "revision" in notes


def test_a_loss_that_is_no_number_ends_it(
    studies_folder: Path, tiny_model: InteractiveModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activefreq.training.objective.dice_loss", lambda logits, target: logits.mean() * float("nan"))
    target = tmp_path / "model.pt"
    with pytest.raises(ActiveFreqError, match="loss of step 0 is nan"):
        finetune(Checkpoint(tiny_model), find_samples(studies_folder), QUICK, publish=target, device="cpu")
    assert not target.exists()


def test_slices_of_volumes_are_trained_on(volume_folders: Folders, tiny_model: InteractiveModel) -> None:
    samples = find_samples(volume_folders.images, volume_folders.labels)
    config = dataclasses.replace(QUICK, epochs=1, views=1, batch_size=8, validation_images=2)
    result = finetune(Checkpoint(tiny_model), samples, config, device="cpu")
    assert result.validated_on == "held-out groups"
    assert result.before.images == 2
    assert np.isfinite(result.losses).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("batch_size", 0), ("validation_share", 1.0), ("patience", 0), ("learning_rate", float("nan"))],
)
def test_wrong_options_are_named(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        dataclasses.replace(QUICK, **{name: value})
