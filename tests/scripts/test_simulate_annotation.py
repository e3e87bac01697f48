from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from documented import documented_arguments
from PIL import Image
from synthetic import rgb_blob, write_picture

import activefreq
from activefreq.data.parts import part_of
from activefreq.evaluation.program import modules_behind

if TYPE_CHECKING:
    from conftest import Folders

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "simulate_annotation.py"
QUICK = ["--rounds", "1", "--seeds", "2", "--initial", "2", "--per-round", "2", "--steps", "1", "--batch-size", "2"]
QUICK += ["--size", "64", "--max-clicks", "2", "--test-clicks", "2", "--pool", "6", "--test", "2"]


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("simulate_annotation", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulate_annotation"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["simulate_annotation"]


@pytest.fixture
def pictures(folders: Folders) -> Folders:
    """Eight pictures of the training part, and three of the test part."""
    wanted = {"train": 8, "test": 3}
    for number in range(400):
        name = f"blob{number:03d}"
        part = part_of(name)
        if wanted.get(part, 0) > 0:
            wanted[part] -= 1
            image, mask = rgb_blob(number, (96, 128))
            write_picture(folders.images / f"{name}.png", image)
            write_picture(folders.labels / f"{name}.png", mask)
    assert not any(wanted.values())
    return folders


@pytest.fixture
def simulate(
    script: ModuleType, pictures: Folders, tiny_checkpoint: Path, tmp_path: Path
) -> Callable[..., tuple[int, Path]]:
    def run(*arguments: str) -> tuple[int, Path]:
        output = tmp_path / "out"
        options = ["--images", str(pictures.images), "--labels", str(pictures.labels), "--output", str(output)]
        return script.main([*options, "--start", str(tiny_checkpoint), *QUICK, *arguments]), output

    return run


def test_from_folders_to_curves(simulate: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]) -> None:
    code, output = simulate("--strategies", "acselect", "random")
    assert code == 0
    table = pd.read_csv(output / "rounds.csv")
    assert len(table) == 2 * 2 * 2
    assert table.groupby("round").images.unique().map(list).to_dict() == {0: [2], 1: [4]}
    summary = json.loads((output / "summary.json").read_text())
    assert (
        set(summary["area_over_images"]["miou"]) == set(summary["area_over_clicks"]["miou"]) == {"acselect", "random"}
    )
    acselect = summary["area_over_images"]["miou"]["acselect"]
    means = table.groupby(["strategy", "round"]).miou.mean()
    assert acselect["mean"] == pytest.approx(means["acselect"].mean())
    assert acselect["less_random"]["mean"] == pytest.approx(means["acselect"].mean() - means["random"].mean())
    assert acselect["less_random"]["low"] <= acselect["less_random"]["mean"] <= acselect["less_random"]["high"]
    assert summary["settings"]["steps"] == 1
    with Image.open(output / "curves.png") as picture:
        assert picture.width > 500
    assert (output / "simulation.md").read_text().strip() in capsys.readouterr().out


def test_a_read_out_instead_of_the_network(simulate: Callable[..., tuple[int, Path]]) -> None:
    code, output = simulate("--learner", "readout", "--strategies", "acselect", "random")
    assert code == 0
    table = pd.read_csv(output / "rounds.csv")
    assert {"miou@0"} == set(table.columns) - {"seed", "strategy", "round", "images", "clicks"}
    summary = json.loads((output / "summary.json").read_text())
    assert set(summary["area_over_images"]) == {"miou@0"}
    assert "after one click" not in (output / "simulation.md").read_text()


def test_images_can_be_left_out(
    simulate: Callable[..., tuple[int, Path]], pictures: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out.csv").write_text(
        "train_id,why\n" + "".join(f"{path.stem},no\n" for path in pictures.images.iterdir())
    )
    assert simulate("--exclude", str(tmp_path / "out.csv"))[0] == 2
    assert "simulate_annotation: " in capsys.readouterr().err
    assert simulate("--exclude", str(tmp_path / "nowhere.csv"))[0] == 2
    assert "nowhere.csv: no such file" in capsys.readouterr().err


def test_it_goes_on_but_not_with_other_settings(
    simulate: Callable[..., tuple[int, Path]], pictures: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    _, output = simulate("--strategies", "random")
    before = (output / "rounds.jsonl").read_text()
    assert simulate("--strategies", "random", "foreground_random")[0] == 0
    after = (output / "rounds.jsonl").read_text()
    assert after.startswith(before)
    assert after.count("\n") == 2 * before.count("\n")
    capsys.readouterr()
    assert simulate("--strategies", "random", "--steps", "2")[0] == 2
    assert "other settings made (steps 1, not 2)" in capsys.readouterr().err
    # Nor with other labels, which the rounds that are there were not played on.
    for path in pictures.labels.iterdir():
        write_picture(path, np.roll(np.asarray(Image.open(path)) > 0, 5, 1))
    assert simulate("--strategies", "random", "foreground_random")[0] == 2
    assert "other settings made (samples " in capsys.readouterr().err


def test_the_program_is_what_chooses_trains_clicks_and_measures_but_not_what_makes_tables(script: ModuleType) -> None:
    names = set(modules_behind(Path(activefreq.__file__).parents[1], script.PROGRAM))
    assert {
        "activefreq.acselect.coverage",
        "activefreq.acselect.strategies",
        "activefreq.data.samples",
        "activefreq.evaluation.rollout",
        "activefreq.models.freqformer",
        "activefreq.training.augmentation",
        "activefreq.training.engine",
        "activefreq.training.losses",
    } <= names
    assert not {"activefreq.simulation.report", "activefreq.simulation.curves"} & names


def test_it_does_not_go_on_with_what_another_program_did(
    simulate: Callable[..., tuple[int, Path]], script: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    assert simulate("--strategies", "random")[0] == 0
    monkeypatch.setattr(script, "program_digest", lambda roots: "0" * 16)
    assert simulate("--strategies", "random")[0] == 2
    assert "other settings made (program " in capsys.readouterr().err


def test_unreadable_images_are_named_and_left_out(
    simulate: Callable[..., tuple[int, Path]], pictures: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = next(path for path in sorted(pictures.images.iterdir()) if part_of(path.stem) == "train")
    content = bad.read_bytes()
    bad.write_bytes(content[: len(content) // 2])
    code, _ = simulate("--strategies", "random", "--pool", "8")
    assert code == 0
    assert bad.stem in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategies", "best"], "strategy must be one of"),
        (["--rounds", "0"], "at least 1 round"),
        (["--rounds", "9"], "20 images would be labelled, but the pool has 6"),
        (["--pool", "0"], "--pool and --test must be at least 1"),
        (["--size", "100"], "size must be a multiple of 32"),
        (["--start", "nowhere.pt"], "nowhere.pt"),
        (["--images", "nowhere"], "nowhere"),
        (["--device", "abacus"], "device"),
    ],
)
def test_wrong_options_end_with_one_line(
    simulate: Callable[..., tuple[int, Path]],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert simulate(*arguments)[0] == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("simulate_annotation: ")
    assert message in lines[-1]


@pytest.mark.parametrize("arguments", documented_arguments("active_learning.md", "simulate_annotation.py"))
def test_documented_commands_run(
    simulate: Callable[..., tuple[int, Path]],
    pictures: Folders,
    tiny_checkpoint: Path,
    tmp_path: Path,
    arguments: list[str],
) -> None:
    """As they stand, but for the folders, the start, and a size that takes seconds."""
    words = list(arguments)
    (tmp_path / "none.txt").write_text("no_such_image\n")
    for name, value in (
        ("--images", pictures.images),
        ("--labels", pictures.labels),
        ("--output", tmp_path / "documented"),
        ("--group", "(.*)"),
        ("--exclude", tmp_path / "none.txt"),
    ):
        if name in words:
            words[words.index(name) + 1] = str(value)
    assert simulate(*words, "--start", str(tiny_checkpoint), *QUICK)[0] == 0
    assert (tmp_path / "documented" / "summary.json").exists()
