import subprocess
import sys
from pathlib import Path

import pytest
from synthetic import rgb_blob, write_picture

ROOT = Path(__file__).parents[2]


def run(script, *arguments):
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "lib")},
        check=False,
    )


@pytest.mark.parametrize("script", ["prepare_isic2017.py", "prepare_oai_zib.py"])
def test_help(script):
    result = run(script, "--help")
    assert result.returncode == 0
    assert "--output" in result.stdout


def test_isic2017_from_folders(tmp_path):
    for number in (1, 2):
        image, mask = rgb_blob(number)
        for kind, name, array in (
            ("Data", f"ISIC_{number:07d}.jpg", image),
            ("Part1_GroundTruth", f"ISIC_{number:07d}_segmentation.png", mask & (number == 1)),
        ):
            folder = tmp_path / "in" / f"ISIC-2017_Training_{kind}"
            folder.mkdir(parents=True, exist_ok=True)
            write_picture(folder / name, array)
    (tmp_path / "in" / "ISIC-2017_Validation_Data.zip").write_bytes(b"")
    result = run("prepare_isic2017.py", tmp_path / "in", "--output", tmp_path / "out", "--size", 32)
    assert result.returncode == 0
    assert result.stdout == "train: 1 images, 1 problems\n"
    assert result.stderr == (
        "test: left out, ISIC-2017_Validation_Part1_GroundTruth is not there\n"
        "  left out ISIC_0000002: the label is empty\n"
    )


def test_oai_zib_from_volumes(volume_folders, tmp_path):
    result = run(
        "prepare_oai_zib.py",
        *("--images", volume_folders.images, "--labels", volume_folders.labels, "--output", tmp_path / "out"),
        *("--slices", 2, 3, "--cartilage", 2, "--validation", 1, "--test", 1, "--patient", r"scan_(\d+)"),
    )
    assert result.stderr == ""
    assert result.returncode == 0
    assert result.stdout == (
        "train: 2 images, 0 problems\nvalidation: 2 images, 0 problems\ntest: 2 images, 0 problems\n"
    )


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("prepare_isic2017.py", ["nowhere", "--output", "out"]),
        ("prepare_oai_zib.py", ["--images", "nowhere", "--labels", "nowhere", "--output", "out"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(script, arguments):
    result = run(script, *arguments)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "nowhere: no such" in result.stderr
