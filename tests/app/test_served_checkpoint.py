from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny import make_tiny_model

from activefreq.errors import CheckpointError
from activefreq.models.checkpoint import Checkpoint, checkpoint_hash, save_checkpoint
from lib.served_checkpoint import finetuned_path, served_path
from lib.served_model import ServedModel


def test_the_configured_checkpoint_until_there_is_a_finetuned_one(tiny_checkpoint: Path, tmp_path: Path) -> None:
    base, folder = tmp_path / "base.pt", tmp_path / "finetuned"
    shutil.copy(tiny_checkpoint, base)
    published = finetuned_path(str(base), folder)
    assert published == folder / f"base-{checkpoint_hash(base)[:12]}.pt"
    assert served_path(str(base), folder) == base
    folder.mkdir()
    published.write_bytes(b"better")
    assert served_path(str(base), folder) == published


def test_a_new_base_does_not_get_what_was_made_of_the_old_one(tiny_checkpoint: Path, tmp_path: Path) -> None:
    base, folder = tmp_path / "base.pt", tmp_path
    shutil.copy(tiny_checkpoint, base)
    finetuned_path(str(base), folder).write_bytes(b"better")
    save_checkpoint(base, Checkpoint(make_tiny_model(seed=1)))
    assert served_path(str(base), folder) == base


def test_without_the_base_there_is_nothing_to_serve(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        served_path(str(tmp_path / "none.pt"), tmp_path)


def test_a_running_server_takes_up_what_is_published(tiny_checkpoint: Path, tmp_path: Path) -> None:
    model = ServedModel(str(tiny_checkpoint), device="cpu", cache_bytes=1 << 20, finetuned=tmp_path)
    first = model.current()
    assert first.version == checkpoint_hash(tiny_checkpoint)[:12]
    target = finetuned_path(str(tiny_checkpoint), tmp_path)
    save_checkpoint(target, Checkpoint(make_tiny_model(seed=1)))
    assert model.current().version == checkpoint_hash(target)[:12]
    assert model.path == target
