from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from documented import documented_arguments

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "benchmark_active_learning.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=1800)


@pytest.mark.server
@pytest.mark.slow
def test_small_benchmark(tmp_path: Path) -> None:
    size = ["--images", "5", "--samples", "2", "--rounds", "1", "--scored", "2", "--clicks", "3"]
    done = run(*size, "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "benchmark_active_learning.json").read_text())
    assert set(figures["next_sample_ms"]) == {"acselect", "acselect_score", "random", "entropy", "foreground_random"}
    for times in figures["next_sample_ms"].values():
        assert 0 < times["median"] <= times["most"]
        assert times["on a processor"] >= 0
    (turn,) = figures["clicks"]["turns"]
    assert 0 < turn["clicks"] <= 3
    assert figures["clicks"]["ratio"] == pytest.approx(turn["during"] / turn["alone"])


@pytest.mark.parametrize("name", ["images", "samples", "rounds", "scored", "clicks"])
def test_wrong_options_end_with_one_line(name: str) -> None:
    done = run(f"--{name}", "0")
    assert done.returncode == 2
    assert done.stderr.strip() == f"benchmark_active_learning: --{name} must be at least 1, not 0"


def test_documented_commands_are_known() -> None:
    """They take long as they stand; their size in a small form is tested above."""
    for arguments in documented_arguments("active_learning.md", "benchmark_active_learning.py"):
        assert run(*arguments, "--help").returncode == 0
        assert run(*arguments, "--rounds", "0").returncode == 2
