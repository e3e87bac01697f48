from __future__ import annotations

from pathlib import Path

import pytest
import torch

from activefreq.errors import CheckpointError
from activefreq.training.state import load_newest_state, load_state, save_state, state_files


def save(folder: Path, step: int) -> Path:
    return save_state(folder, step, {"weights": torch.full((1000,), float(step))})


def test_the_last_two_are_kept_and_the_newest_is_found(tmp_path: Path) -> None:
    assert load_newest_state(tmp_path) is None
    for step in (100, 200, 300):
        save(tmp_path, step)
    assert list(state_files(tmp_path)) == [300, 200]
    found = load_newest_state(tmp_path)
    assert found is not None
    assert found[0] == 300
    assert (found[1]["weights"] == 300).all()


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text"])
def test_a_damaged_state_is_passed_over_and_told(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path, 100)
    newest = save(tmp_path, 200)
    content = bytearray(newest.read_bytes())
    if damage == "flip":
        # In the middle of the numbers, where nothing but the checksum tells.
        place = content.index(torch.full((8,), 200.0).numpy().tobytes())
        content[place + 100] ^= 1
    newest.write_bytes(
        {"flip": bytes(content), "cut": bytes(content[:-300]), "empty": b"", "text": b"not a state"}[damage]
    )
    found = load_newest_state(tmp_path)
    assert found is not None
    assert found[0] == 100
    assert (found[1]["weights"] == 100).all()
    assert "state-00000200.pt" in caplog.text


def test_going_on_from_an_earlier_state_removes_the_damaged_later_one(tmp_path: Path) -> None:
    save(tmp_path, 100)
    save(tmp_path, 200).write_bytes(b"damaged")
    save(tmp_path, 150)
    assert list(state_files(tmp_path)) == [150, 100]


def test_only_damaged_states_are_an_error(tmp_path: Path) -> None:
    save(tmp_path, 100).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"no state in .* can be used: .*state-00000100"):
        load_newest_state(tmp_path)


def test_an_interrupted_write_leaves_the_states_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 100)

    def half(path: Path, content: memoryview) -> None:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        assert list(tmp_path.rglob("state-00000200.pt")) == [path]
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", half)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, 200)
    assert not list(tmp_path.rglob("state-00000200.pt"))
    assert list(state_files(tmp_path)) == [100]


def test_another_format_is_refused(tmp_path: Path) -> None:
    torch.save({"format": 1}, tmp_path / "state-00000001.pt")
    with pytest.raises(CheckpointError, match="not a training state of format"):
        load_state(tmp_path / "state-00000001.pt")
