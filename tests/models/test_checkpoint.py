from __future__ import annotations

import contextlib
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from activefreq import CheckpointError, Click, InteractiveSegmenter
from activefreq.models.backbones import BackboneConfig
from activefreq.models.checkpoint import (
    Checkpoint,
    checkpoint_hash,
    load_checkpoint,
    load_checkpoint_and_hash,
    resolve_checkpoint,
    save_checkpoint,
)
from activefreq.models.config import ModelConfig, SessionConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.models.refiner import RefinerConfig

OPTIONS = {"width": 8, "dims": (16, 8, 8, 8), "ratio": 1, "base_size": 32}


@pytest.fixture(scope="module")
def model() -> InteractiveModel:
    torch.manual_seed(5)
    config = ModelConfig(BackboneConfig("freqformer", OPTIONS), RefinerConfig(channels=4), 64, 48, disk_radius=3.0)
    made = InteractiveModel(config).eval()
    for value in made.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) * 0.1 + 0.01)
    return made


@pytest.fixture
def path(model: InteractiveModel, tmp_path: Path) -> Path:
    made = tmp_path / "model.pt"
    save_checkpoint(made, Checkpoint(model, SessionConfig(focus_share=0.3), {"recipe": ["a", 1], "figure": 0.5}))
    return made


def edited(path: Path, edit: Callable[[dict[str, Any]], Any]) -> Path:
    content = torch.load(path, weights_only=True)
    content = edit(content) or content
    torch.save(content, path)
    return path


def test_a_round_trip_changes_nothing(model: InteractiveModel, path: Path) -> None:
    loaded = load_checkpoint(path)
    assert loaded.session == SessionConfig(focus_share=0.3)
    assert loaded.info == {"recipe": ["a", 1], "figure": 0.5}
    assert loaded.model.config.input_size == 64
    assert loaded.model.config.refine_size == 48
    assert loaded.model.config.disk_radius == 3.0
    assert loaded.model.config.refiner == RefinerConfig(channels=4)
    assert not loaded.model.training
    for (name, one), other in zip(model.state_dict().items(), loaded.model.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    answers = [InteractiveSegmenter(each).predict(image, [Click(20, 30)]) for each in (model, loaded.model)]
    np.testing.assert_array_equal(answers[0].probability, answers[1].probability)


def test_saving_again_what_was_loaded_gives_the_same_content(path: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "again.pt", load_checkpoint(path))
    one, other = (torch.load(file, weights_only=True) for file in (path, tmp_path / "again.pt"))
    for key in ("format", "model", "session", "info"):
        assert one[key] == other[key]
    assert all(torch.equal(value, other["weights"][name]) for name, value in one["weights"].items())


def test_half_precision_halves_the_file_and_loads_as_float32(model: InteractiveModel, path: Path) -> None:
    half = path.with_name("half.pt")
    save_checkpoint(half, Checkpoint(model), half=True)
    assert half.stat().st_size < 0.6 * path.stat().st_size
    loaded = load_checkpoint(half).model.state_dict()
    for name, value in model.state_dict().items():
        assert loaded[name].dtype == value.dtype
        if value.is_floating_point():
            torch.testing.assert_close(loaded[name], value, rtol=1e-3, atol=1e-6)
        else:
            assert torch.equal(loaded[name], value)


def test_half_precision_keeps_what_does_not_fit(model: InteractiveModel, tmp_path: Path) -> None:
    large = InteractiveModel(model.config)
    large.refiner.stem[1].running_var.fill_(1e6)
    save_checkpoint(tmp_path / "large.pt", Checkpoint(large), half=True)
    assert (load_checkpoint(tmp_path / "large.pt").model.refiner.stem[1].running_var == 1e6).all()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*missing\.pt"):
        load_checkpoint(tmp_path / "missing.pt")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04", b"\x80\x02}q\x00."])
def test_another_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"other\.pt is not"):
        load_checkpoint(tmp_path / "other.pt")


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n", b"", b"no weights", pickle.dumps(Path("a"))],
    ids=["picture", "empty", "text", "pickle"],
)
def test_why_another_file_is_none_is_a_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other.pt").write_bytes(content)
    for load in (load_checkpoint, load_checkpoint_and_hash):
        with pytest.raises(CheckpointError) as told:
            load(tmp_path / "other.pt")
        reason = "it is no file of weights, or holds more than these"
        assert str(told.value) == f"{tmp_path / 'other.pt'} is not a readable checkpoint: {reason}"


def test_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path)


@given(st.floats(0, 0.999))
def test_a_truncated_file_is_named(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    content = _small_checkpoint()
    path = tmp_path_factory.mktemp("cut") / "cut.pt"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"cut\.pt"):
        load_checkpoint(path)


@given(st.integers(0, 2**32 - 1))
def test_a_damaged_file_fails_in_no_other_way(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray(_small_checkpoint())
    for place in rng.integers(0, len(content), 20):
        content[place] = rng.integers(256)
    path = tmp_path_factory.mktemp("damaged") / "damaged.pt"
    path.write_bytes(bytes(content))
    with contextlib.suppress(CheckpointError):
        load_checkpoint(path)


def _small_checkpoint() -> bytes:
    buffer = io.BytesIO()
    torch.save({"format": 1, "model": {"input_size": 64}, "weights": {"a": torch.ones(30)}}, buffer)
    return buffer.getvalue()


class _Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("legacy", [False, True])
def test_no_code_of_a_file_is_run(tmp_path: Path, legacy: bool) -> None:
    target = tmp_path / "written"
    content = {"format": 1, "model": _Malicious(target), "weights": {}}
    file = tmp_path / "malicious.pt"
    if legacy:
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file)
    with pytest.raises(CheckpointError, match=r"malicious\.pt is not a readable checkpoint"):
        load_checkpoint(file)
    assert not target.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_named(path: Path, value: float) -> None:
    name = "refiner.prediction.weight"

    def spoil(content: dict[str, Any]) -> None:
        content["weights"][name][0, 2, 1, 1] = value

    with pytest.raises(CheckpointError, match=rf"NaN or infinity in {name}"):
        load_checkpoint(edited(path, spoil))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda content: [1, 2], "format 1"),
        (lambda content: {**content, "format": 2}, "format 1"),
        (lambda content: {key: content[key] for key in content if key != "weights"}, "does not fit.*weights"),
        (lambda content: {**content, "weights": {}}, "Missing key"),
        (lambda content: {**content, "weights": {**content["weights"], "more": torch.ones(1)}}, "Unexpected key"),
        (lambda content: {**content, "weights": dict.fromkeys(content["weights"], 1)}, "does not fit"),
        (lambda content: {**content, "weights": None}, "does not fit"),
        (lambda content: content["model"]["backbone"].update(name="resnet"), "unknown backbone 'resnet'"),
        (lambda content: content["model"]["backbone"].update(name="freqformer-b0"), r"size mismatch .* \.\.\.$"),
        (lambda content: content["model"]["backbone"].update(options={"depth": 3}), "depth"),
        (lambda content: content["model"].update(spline=1), "spline"),
        (lambda content: content["model"].update(backbone=None), "does not fit"),
        (lambda content: content["session"].update(zoom=1), "zoom"),
    ],
)
def test_what_does_not_fit_is_named(path: Path, edit: Callable[[dict[str, Any]], Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(edited(path, edit))


def test_saving_leaves_the_old_file_when_it_fails(path: Path, model: InteractiveModel) -> None:
    before = path.read_bytes()
    with pytest.raises((pickle.PicklingError, AttributeError)):
        save_checkpoint(path, Checkpoint(model, info={"unpicklable": lambda: 0}))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_names_are_looked_up_among_the_shipped(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACTIVEFREQ_MODELS", str(path.parent))
    assert resolve_checkpoint("model") == path
    assert resolve_checkpoint(path) == path
    for missing in ("other", "../model", tmp_path / "model"):
        with pytest.raises(CheckpointError, match=r"no checkpoint at .* \(shipped in .*: model\)"):
            resolve_checkpoint(missing)


def test_the_hash_is_of_the_content(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.pt"
    copy.write_bytes(path.read_bytes())
    assert checkpoint_hash(copy) == checkpoint_hash(path)
    copy.write_bytes(path.read_bytes() + b"\0")
    assert checkpoint_hash(copy) != checkpoint_hash(path)
    assert len(checkpoint_hash(path)) == 64
