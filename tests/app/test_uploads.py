from __future__ import annotations

import errno
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from lib.uploads import Uploads


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "sessions"
    path.mkdir()
    return path


def add(store: Path, tmp_path: Path, name: str) -> str:
    image = tmp_path / f"{name}.nrrd"
    image.write_bytes(b"voxels")
    _, session = Uploads(str(store)).add_session(str(image), session_id=name)
    return str(session)


def grow_old(store: Path, name: str) -> None:
    """As if it had been used last two hours ago."""
    before = int(time.time()) - 7200
    path = store / name / "meta.info"
    if path.is_file() and path.stat().st_size:
        path.write_text(json.dumps({**json.loads(path.read_text()), "last_access_ts": before}))
    os.utime(store / name, (before, before))


def test_an_upload_is_there_until_it_expires(store: Path, tmp_path: Path) -> None:
    add(store, tmp_path, "new")
    add(store, tmp_path, "old")
    grow_old(store, "old")
    # A server that has just been started knows none of them yet.
    uploads = Uploads(str(store))
    assert uploads.remove_expired() == 1
    assert uploads.get_session("new") is not None
    assert uploads.get_session("old") is None
    assert [path.name for path in store.iterdir()] == ["new"]


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"{}"])
def test_what_was_left_half_made_hinders_nothing_and_goes(store: Path, tmp_path: Path, content: bytes | None) -> None:
    add(store, tmp_path, "old")
    (store / "half").mkdir()
    if content is not None:
        (store / "half" / "meta.info").write_bytes(content)
    uploads = Uploads(str(store))
    assert uploads.get_session("half") is None
    grow_old(store, "old")
    if (store / "half").is_dir():
        # It may be on its way.
        assert uploads.remove_expired() == 1
        assert (store / "half").is_dir()
        os.utime(store / "half", (0, 0))
    uploads.remove_expired()
    assert list(store.iterdir()) == []


def test_an_upload_whose_image_is_gone_is_none(store: Path, tmp_path: Path) -> None:
    add(store, tmp_path, "a")
    next((store / "a").glob("*.nrrd")).unlink()
    assert Uploads(str(store)).remove_expired() == 1
    assert list(store.iterdir()) == []


def test_an_upload_for_which_there_is_no_room_leaves_nothing(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def move(source: str, target: str) -> None:
        Path(target).write_bytes(b"vox")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "move", move)
    with pytest.raises(OSError, match="No space left"):
        add(store, tmp_path, "big")
    assert list(store.iterdir()) == []
