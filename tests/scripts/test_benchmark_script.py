from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from documented import documented_arguments

from activefreq.models.backbones import BACKBONES

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "benchmark.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=1800)


def test_sizes_without_times(tmp_path: Path) -> None:
    done = run("--sizes-only", "--backbones", "freqformer", "--output", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert figures.keys() == {"backbones"}
    size = figures["backbones"]["freqformer"]
    assert (size["params_m"], size["gmac_256"], size["fft_gflop_256"]) == (9.0708, 2.0127, 0.04)
    assert any(line.split()[:3] == ["freqformer", "9.071", "2.013"] for line in done.stdout.splitlines())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_times_of_every_backbone(tmp_path: Path) -> None:
    done = run("--rounds", "1", "--threads", "1", "--devices", "cpu", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "benchmark.json").read_text())
    assert list(figures["backbones"]) == list(BACKBONES)
    for row in (*figures["backbones"].values(), figures["focalclick"]):
        for side in ("256", "448"):
            assert 0 < row["click_ms_spread"][side]["least"] <= row["click_ms"][side]
            assert row["click_of_focalclick"][side]["clock"] > 0
    assert figures["focalclick"]["click_of_focalclick"]["448"] == {"clock": 1.0, "processor": 1.0}
    assert figures["machine"]["threads"] == 1
    assert figures["machine"]["cpu_matmul_float32_gflops"] > 0
    assert figures["acselect"]["choice_ms"].keys() == figures["acselect"]["share_of_click"].keys() == {"256", "448"}
    assert figures["acselect"]["measure_5000_regions_2048_ms"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["benchmark.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rounds", "0"), "benchmark: --rounds and --threads must be at least 1"),
        (("--devices", "toaster"), "benchmark: unknown device 'toaster'"),
    ],
)
def test_wrong_options_end_with_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments, "--backbones", "monai")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith(message)


def test_documented_commands_are_known() -> None:
    for arguments in documented_arguments("models.md", "benchmark.py"):
        assert run(*arguments, "--help").returncode == 0
