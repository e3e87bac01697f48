from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi import HTTPException
from tiny import make_tiny_model

from activefreq.errors import CheckpointError
from activefreq.files.atomic import atomic_write
from activefreq.models.checkpoint import Checkpoint, checkpoint_hash, save_checkpoint
from activefreq.session import InteractiveSegmenter
from lib import served_model
from lib.answers import http_errors
from lib.served_model import ServedModel


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.pt"


def serve(path: Path) -> ServedModel:
    return ServedModel(str(path), device="cpu", cache_bytes=1 << 20)


def write(path: Path, content: bytes) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def test_loads_a_checkpoint_once(path: Path, tiny_checkpoint: Path) -> None:
    write(path, tiny_checkpoint.read_bytes())
    model = serve(path)
    first = model.current()
    assert first.version == checkpoint_hash(path)[:12]
    assert model.current() is first


@pytest.mark.parametrize(("mirrors", "expected"), [(None, 1), (4, 4)])
def test_every_version_is_asked_in_the_mirror_images_that_are_set(
    path: Path, tiny_checkpoint: Path, mirrors: int | None, expected: int
) -> None:
    write(path, tiny_checkpoint.read_bytes())
    model = ServedModel(str(path), device="cpu", cache_bytes=1 << 20, mirrors=mirrors)
    assert model.current().segmenter.config.mirrors == expected
    save_checkpoint(path, Checkpoint(make_tiny_model(seed=1)))
    assert model.current().segmenter.config.mirrors == expected


def test_serves_a_new_checkpoint(path: Path, tiny_checkpoint: Path) -> None:
    write(path, tiny_checkpoint.read_bytes())
    model = serve(path)
    first = model.current()
    save_checkpoint(path, Checkpoint(make_tiny_model(seed=1)))
    second = model.current()
    assert second.version == checkpoint_hash(path)[:12] != first.version
    assert second.replay is not first.replay


def test_a_version_has_its_own_weights_though_the_file_is_replaced_while_it_is_loaded(
    path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, tiny_checkpoint.read_bytes())
    before = checkpoint_hash(path)[:12]
    load = torch.load

    def publish_and_load(*arguments: Any, **options: Any) -> Any:
        save_checkpoint(path, Checkpoint(make_tiny_model(seed=1)))
        return load(*arguments, **options)

    model = serve(path)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(torch, "load", publish_and_load)
        first = model.current()
    second = model.current()
    assert (first.version, second.version) == (before, checkpoint_hash(path)[:12])
    assert first.version != second.version
    for served, file in ((first, tiny_checkpoint), (second, path)):
        fresh = InteractiveSegmenter.from_pretrained(file, device="cpu").model.state_dict()
        kept = served.segmenter.model.state_dict()
        assert kept.keys() == fresh.keys()
        assert all(torch.equal(kept[name], fresh[name]) for name in fresh)


def test_serves_the_model_before_a_broken_checkpoint(
    path: Path, tiny_checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = tiny_checkpoint.read_bytes()
    write(path, whole)
    model = serve(path)
    first = model.current()
    for broken in (b"", b"garbage", whole[: len(whole) // 2]):
        write(path, broken)
        with caplog.at_level(logging.ERROR):
            assert model.current() is first
        assert "model.pt" in caplog.text
        assert "model.pt" in model.problem
        caplog.clear()
        # Read, and reported, once.
        assert model.current() is first
        assert not caplog.records
        assert "model.pt" in model.problem
    path.unlink()
    assert model.current() is first
    save_checkpoint(path, Checkpoint(make_tiny_model(seed=1)))
    assert model.current().version != first.version
    assert model.problem == ""


@pytest.mark.parametrize("served_before", [False, True])
def test_a_model_for_which_there_is_no_room_is_tried_again(
    path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, served_before: bool
) -> None:
    write(path, tiny_checkpoint.read_bytes())
    model = serve(path)
    first = model.current() if served_before else None
    save_checkpoint(path, Checkpoint(make_tiny_model(seed=1)))
    with monkeypatch.context() as full:
        full.setattr(served_model.InteractiveSegmenter, "from_checkpoint", out_of_memory)
        for _ in range(2):
            if served_before:
                assert model.current() is first
            else:
                with pytest.raises(CheckpointError, match="CUDA out of memory"):
                    model.current()
            assert model.problem == "CUDA out of memory"
    assert model.current().version == checkpoint_hash(path)[:12]
    assert model.problem == ""


def out_of_memory(*_: object, **__: object) -> None:
    raise torch.cuda.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_no_usable_checkpoint_is_said_until_there_is_one(
    path: Path, tiny_checkpoint: Path, content: bytes | None
) -> None:
    if content is not None:
        write(path, content)
    model = serve(path)
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"model\.pt"):
            model.current()
    write(path, tiny_checkpoint.read_bytes())
    assert model.current().version == checkpoint_hash(tiny_checkpoint)[:12]


def test_a_broken_checkpoint_is_answered_with_503() -> None:
    with pytest.raises(HTTPException) as caught, http_errors():
        raise CheckpointError("model.pt is damaged")
    assert caught.value.status_code == 503
    assert "model.pt is damaged" in caught.value.detail
