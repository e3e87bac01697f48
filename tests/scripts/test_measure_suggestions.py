from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from documented import documented_arguments

from activefreq.evaluation.suggestions import ROBOTS

if TYPE_CHECKING:
    from conftest import Folders

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "measure_suggestions.py"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("measure_suggestions", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["measure_suggestions"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["measure_suggestions"]


@pytest.fixture
def measure(
    script: ModuleType, lesion_folders: Folders, tiny_checkpoint: Path, tmp_path: Path
) -> Callable[..., tuple[int, Path]]:
    """Runs the script on made-up lesions with a small network, at most two clicks; what is given counts."""

    def run(*arguments: str) -> tuple[int, Path]:
        output = tmp_path / "out"
        options = ["--images", str(lesion_folders.images), "--labels", str(lesion_folders.labels)]
        options += ["--output", str(output), "--weights", str(tiny_checkpoint), "--max-clicks", "2"]
        return script.main([*options, *arguments]), output

    return run


def test_from_folders_to_tables(measure: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]) -> None:
    code, output = measure("--limit", "3")
    assert code == 0
    robots, hits = pd.read_csv(output / "robots.csv"), pd.read_csv(output / "hits.csv")
    assert len(robots) == 3 * len(ROBOTS)
    assert set(robots.robot) == set(ROBOTS)
    summary = json.loads((output / "summary.json").read_text())
    assert summary == json.loads(capsys.readouterr().out)
    assert summary["images"] == 3
    for robot in ROBOTS:
        mean = robots[robots.robot == robot]["noc@0.9"].mean()
        assert summary["robots"][robot]["noc@0.9"]["mean"] == pytest.approx(mean)
    rates = hits[hits.ranking == "suggestions"].first_right
    assert summary["suggestions"]["suggestions"]["first_right"]["mean"] == pytest.approx(rates.mean())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "0"], "--limit must be at least 1"),
        (["--limit", "1", "--seed", "-1"], "the seed must be at least 0, not -1"),
        (["--seed", "-1", "--images", "nowhere"], "the seed must be at least 0, not -1"),
        (["--weights", "nowhere.pt"], "nowhere.pt"),
        (["--images", "nowhere"], "nowhere"),
        (["--least-chance", "0.9"], "least chance"),
    ],
)
def test_wrong_options_end_with_one_line(
    measure: Callable[..., tuple[int, Path]],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert measure(*arguments)[0] == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("measure_suggestions: ")
    assert message in error


@pytest.mark.parametrize("below", ["", "below"])
def test_an_output_that_cannot_be_a_folder_is_told_before_the_study(
    measure: Callable[..., tuple[int, Path]],
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    below: str,
) -> None:
    monkeypatch.setattr(script, "study_suggestions", lambda *_: pytest.fail("it was studied"))
    (tmp_path / "file").write_text("of mine")
    assert measure("--output", str(tmp_path / "file" / below))[0] == 2
    assert str(tmp_path / "file") in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("arguments", documented_arguments("active_learning.md", "measure_suggestions.py"))
def test_documented_commands_run(
    measure: Callable[..., tuple[int, Path]],
    lesion_folders: Folders,
    tiny_checkpoint: Path,
    tmp_path: Path,
    arguments: list[str],
) -> None:
    """As they stand, but for the folders, the division of few images, and a network and clicks that take seconds."""
    parsed = list(arguments)
    for name, value in (
        ("--images", lesion_folders.images),
        ("--labels", lesion_folders.labels),
        ("--output", tmp_path / "documented"),
        ("--part", "train"),
        ("--group", "(.*)"),
    ):
        if name in parsed:
            parsed[parsed.index(name) + 1] = str(value)
    code, _ = measure(*parsed, "--weights", str(tiny_checkpoint), "--max-clicks", "1")
    assert code == 0
    assert (tmp_path / "documented" / "summary.json").exists()
