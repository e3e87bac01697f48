"""The fine-tuning script: what it writes, and what it refuses."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from activefreq.models.checkpoint import checkpoint_hash, load_checkpoint

if TYPE_CHECKING:
    from conftest import Folders

SCRIPT = Path(__file__).parents[2] / "scripts" / "finetune.py"
SPEC = importlib.util.spec_from_file_location("finetune", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
script = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(script)


def test_it_fine_tunes_on_as_many_images_as_are_asked_for(
    lesion_folders: Folders, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "new" / "tuned"
    arguments = ["--images", lesion_folders.images, "--labels", lesion_folders.labels, "--output", output]
    arguments += ["--weights", tiny_checkpoint, "--limit", 4, "--epochs", 6, "--device", "cpu", "--held-out", 0.3]
    assert script.main([str(argument) for argument in arguments]) == 0
    figures = json.loads((output / "finetuning.json").read_text())
    assert len(figures["training"]) + len(figures["validation"]) == 4
    assert figures["epochs"] == 6
    assert figures["published"] is (output / "finetuned.pt").exists()
    assert (figures["config"]["epochs"], figures["config"]["validation_share"]) == (6, 0.3)
    assert figures["weights"] == checkpoint_hash(tiny_checkpoint)
    assert "revision" in figures
    if figures["published"]:
        assert load_checkpoint(output / "finetuned.pt").info["finetuned"]["images"] == figures["training"]


def test_weights_of_an_earlier_run_are_not_taken_for_this_ones(
    lesion_folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "finetuned.pt").write_bytes(b"hours of work")
    given = ["--images", str(lesion_folders.images), "--labels", str(lesion_folders.labels)]
    assert script.main([*given, "--output", str(tmp_path)]) == 2
    assert f"there is a {tmp_path / 'finetuned.pt'} already" in capsys.readouterr().err
    assert (tmp_path / "finetuned.pt").read_bytes() == b"hours of work"


def test_ctrl_c_asks_it_to_stop_and_a_second_one_stops_it() -> None:
    # A process that was started in the background ignores Ctrl-C from the beginning.
    outer = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), script.stopped_by_ctrl_c() as stopping:  # noqa: PT012
            assert not stopping.is_set()
            os.kill(os.getpid(), signal.SIGINT)
            assert stopping.is_set()
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, outer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "epochs must be at least 1, not 0"),
        (["--weights", "nowhere.pt"], "no checkpoint at nowhere.pt"),
        (["--limit", "0"], "limit must be at least 1, not 0"),
        (["--limit", "2", "--seed", "-1"], "the seed must be at least 0, not -1"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    lesion_folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    given = ["--images", str(lesion_folders.images), "--labels", str(lesion_folders.labels)]
    assert script.main([*given, "--output", str(tmp_path / "out"), *arguments]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"finetune: {message}")
