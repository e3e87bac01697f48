from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from activefreq.models.checkpoint import Checkpoint, save_checkpoint
from activefreq.models.interactive import InteractiveModel

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "export_onnx.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=1800)


@pytest.mark.slow
def test_a_checkpoint_is_written_described_and_compared(tiny_model: InteractiveModel, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "tiny.pt", Checkpoint(tiny_model))
    done = run(str(tmp_path / "tiny.pt"), "--output", str(tmp_path / "onnx"))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "onnx").iterdir()) == ["coarse.onnx", "refine.onnx"]
    assert "  input prompt: float32 (batch, 3, 64, 64)" in done.stdout.splitlines()
    assert float(done.stdout.splitlines()[-1].rsplit(": ", 1)[1]) < 2e-5


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    done = run("nothing", "--output", str(tmp_path / "onnx"))
    assert done.returncode == 2
    assert done.stderr.startswith("export_onnx: no checkpoint at nothing")
    assert not (tmp_path / "onnx").exists()
