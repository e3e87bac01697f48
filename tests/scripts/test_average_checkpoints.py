from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from documented import documented_arguments
from tiny import make_tiny_model

from activefreq.models.checkpoint import Checkpoint, checkpoint_hash, load_checkpoint, save_checkpoint

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "average_checkpoints.py"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)


def test_the_documented_command_writes_the_mean(tmp_path: Path) -> None:
    (arguments,) = documented_arguments("training.md", "average_checkpoints.py")
    named = [Path(word) for word in arguments[: arguments.index("--shares")]]
    for seed, path in enumerate(named):
        (tmp_path / path.parent).mkdir(parents=True)
        save_checkpoint(tmp_path / path, Checkpoint(make_tiny_model(seed)))
    done = run(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    output = tmp_path / arguments[arguments.index("--output") + 1]
    assert done.stdout.splitlines()[:2] == [f"0.667 of {named[0]}", f"0.333 of {named[1]}"]
    assert done.stdout.splitlines()[2].endswith(f"SHA-256 {checkpoint_hash(output)})")
    mean, first, second = (
        load_checkpoint(path).model.state_dict() for path in (output, *(tmp_path / path for path in named))
    )
    name = next(name for name, value in mean.items() if value.is_floating_point() and value.ndim == 4)
    torch.testing.assert_close(mean[name], (2 * first[name] + second[name]) / 3)


def test_half_is_half_as_large(tmp_path: Path) -> None:
    for seed in range(2):
        save_checkpoint(tmp_path / f"{seed}.pt", Checkpoint(make_tiny_model(seed)))
    for name, options in (("full", ()), ("half", ("--half",))):
        assert run(tmp_path, "0.pt", "1.pt", *options, "--output", f"{name}.pt").returncode == 0
    full, half = ((tmp_path / f"{name}.pt").stat().st_size for name in ("full", "half"))
    assert half < 0.8 * full


def test_what_is_wrong_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", Checkpoint(make_tiny_model(0)))
    done = run(tmp_path, "a.pt", "missing.pt", "--output", "out/mean.pt")
    assert done.returncode == 2
    assert done.stderr.startswith("average_checkpoints: no checkpoint at missing.pt")
    assert not (tmp_path / "out").exists()
    done = run(tmp_path, "a.pt", "--output", "out/mean.pt")
    assert done.returncode == 2
    assert done.stderr == "average_checkpoints: a mean needs at least two checkpoints\n"
    assert not (tmp_path / "out").exists()
