from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
from tiny import make_tiny_model

from activefreq.errors import CheckpointError, InputError
from activefreq.models.checkpoint import Checkpoint, checkpoint_hash, load_checkpoint, save_checkpoint
from activefreq.models.config import SessionConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.models.refiner import RefinerConfig
from activefreq.training.averaging import average_checkpoints


@pytest.fixture
def ends(tmp_path: Path) -> list[Path]:
    """Three checkpoints of one network, of different weights, sessions and notes."""
    paths = []
    for seed in range(3):
        path = tmp_path / f"{seed}.pt"
        session = SessionConfig(target_expansion=1.5 + seed / 10)
        save_checkpoint(path, Checkpoint(make_tiny_model(seed), session, {"seed": seed}))
        paths.append(path)
    return paths


def floats(model: InteractiveModel) -> torch.Tensor:
    """All weights and statistics in one row, float64."""
    return torch.cat([value.flatten().double() for value in model.state_dict().values() if value.is_floating_point()])


def test_every_weight_is_the_weighted_mean(ends: list[Path]) -> None:
    a, b, c = (floats(load_checkpoint(path).model) for path in ends)
    mean = floats(average_checkpoints(ends, [2, 1, 1]).model)
    torch.testing.assert_close(mean, (2 * a + b + c) / 4, rtol=1e-6, atol=1e-7)
    assert not torch.equal(a, b)


def test_only_the_shares_proportions_count(ends: list[Path]) -> None:
    one = average_checkpoints(ends[:2], [1, 3])
    other = average_checkpoints(ends[:2], [0.25, 0.75])
    assert torch.equal(floats(one.model), floats(other.model))


@pytest.mark.parametrize("shares", [[1, 1, 1], [0.1, 0.2, 0.7]])
def test_the_mean_of_equal_weights_is_what_they_are(ends: list[Path], shares: list[float]) -> None:
    mean = average_checkpoints([ends[1]] * 3, shares)
    assert torch.equal(floats(mean.model), floats(load_checkpoint(ends[1]).model))


def test_sizes_session_and_notes_are_the_firsts(ends: list[Path], tmp_path: Path) -> None:
    larger = tmp_path / "larger.pt"
    model = copy.deepcopy(load_checkpoint(ends[0]).model)
    model.config = dataclasses.replace(model.config, input_size=96)
    save_checkpoint(larger, Checkpoint(model, SessionConfig(mirrors=2), {"name": "larger"}))
    mean = average_checkpoints([larger, ends[2]], [1, 3])
    assert mean.model.config == model.config
    assert mean.session == SessionConfig(mirrors=2)
    assert mean.info == {
        "name": "larger",
        "mean_of": [
            {"sha256": checkpoint_hash(larger), "share": 0.25},
            {"sha256": checkpoint_hash(ends[2]), "share": 0.75},
        ],
    }
    save_checkpoint(tmp_path / "mean.pt", mean)
    assert load_checkpoint(tmp_path / "mean.pt").info == mean.info


def test_images_that_any_was_fine_tuned_on_are_noted_and_a_validation_of_one_is_not(tmp_path: Path) -> None:
    paths = []
    for number, images in enumerate((["a", "b"], [], ["b", "c"])):
        notes = {"finetuned": {"images": images, "miou": [0.9]}} if images else {}
        paths.append(tmp_path / f"{number}.pt")
        save_checkpoint(paths[-1], Checkpoint(make_tiny_model(number), info={**notes, "validation": {"miou": [0.9]}}))
    info = average_checkpoints(paths, [1, 1, 1]).info
    assert info["finetuned"] == {"images": ["a", "b", "c"]}
    assert info.keys() == {"finetuned", "mean_of"}


def test_what_a_normalization_counted_stays(tmp_path: Path) -> None:
    paths = []
    for count in (3, 8):
        model = make_tiny_model(0)
        counters = [value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")]
        assert counters
        for counter in counters:
            counter.fill_(count)
        paths.append(tmp_path / f"{count}.pt")
        save_checkpoint(paths[-1], Checkpoint(model))
    mean = average_checkpoints(paths, [1, 1]).model.state_dict()
    assert {int(value) for name, value in mean.items() if name.endswith("num_batches_tracked")} == {3}


@pytest.mark.parametrize(
    ("count", "shares", "message"),
    [
        (1, [1], "a mean needs at least two checkpoints"),
        (2, [1], "2 checkpoints and 1 shares: give one for each"),
        (2, [1, 0], "shares have to be positive numbers, not 1, 0"),
        (2, [1, -2], "shares have to be positive numbers, not 1, -2"),
        (2, [1, float("nan")], "shares have to be positive numbers, not 1, nan"),
        (2, [1, float("inf")], "shares have to be positive numbers, not 1, inf"),
    ],
)
def test_shares_that_make_no_mean(ends: list[Path], count: int, shares: list[float], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        average_checkpoints(ends[:count], shares)


def test_different_networks_are_named(ends: list[Path], tmp_path: Path) -> None:
    config = make_tiny_model(0).config
    other = tmp_path / "other.pt"
    save_checkpoint(
        other, Checkpoint(InteractiveModel(dataclasses.replace(config, refiner=RefinerConfig(channels=16))))
    )
    with pytest.raises(InputError) as caught:
        average_checkpoints([ends[0], other], [1, 1])
    assert str(caught.value).startswith(f"{ends[0]} and {other} are different networks: ")
    assert "RefinerConfig(channels=8)" in str(caught.value)
    assert "RefinerConfig(channels=16)" in str(caught.value)


def test_a_file_that_is_none_is_named(ends: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match=r"bad\.pt is not a readable checkpoint"):
        average_checkpoints([ends[0], tmp_path / "bad.pt"], [1, 1])
