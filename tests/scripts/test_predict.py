import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import make_tiny_model

from activefreq.clicks import Click
from activefreq.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from activefreq.session.segmenter import InteractiveSegmenter

ROOT = Path(__file__).parents[2]


def predict(*arguments):
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "predict.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "lib")},
        check=False,
    )


@pytest.fixture
def weights(tmp_path):
    save_checkpoint(tmp_path / "tiny.pt", Checkpoint(make_tiny_model(0)))
    return tmp_path / "tiny.pt"


@pytest.fixture
def photograph(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "photograph.png")
    return tmp_path / "photograph.png"


def test_writes_the_mask_of_the_session_and_a_picture(tmp_path, weights, photograph):
    mask, picture = tmp_path / "mask.png", tmp_path / "picture.png"
    result = predict(
        photograph, "--click", "20,30", "--click", "40,50,-", "--weights", weights, "--device", "cpu",
        "--output", mask, "--picture", picture,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    segmenter = InteractiveSegmenter(load_checkpoint(weights).model)
    expected = segmenter.predict(np.array(Image.open(photograph)), [Click(20, 30), Click(40, 50, False)]).mask
    assert np.array_equal(np.array(Image.open(mask)) > 0, expected)
    assert Image.open(picture).size == (512, 384)


@pytest.mark.parametrize(
    ("click", "message"),
    [("20", "a click is y,x"), ("a,b", "whole numbers"), ("20,300", "outside the image")],
)
def test_a_bad_click_is_one_line_and_leaves_no_file(tmp_path, weights, photograph, click, message):
    result = predict(photograph, "--click", click, "--weights", weights, "--output", tmp_path / "mask.png")
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "mask.png").exists()


@pytest.mark.parametrize("option", ["--output", "--picture"])
@pytest.mark.parametrize("name", ["mask.nii.gz", "mask", "mask.jpg"])
def test_a_file_that_would_not_hold_the_mask_is_refused_before_anything_is_computed(tmp_path, photograph, option, name):
    files = {"--output": tmp_path / "mask.png", "--picture": tmp_path / "picture.png", option: tmp_path / name}
    result = predict(
        photograph, "--click", "20,30", "--weights", "nowhere", *(part for pair in files.items() for part in pair)
    )
    assert result.returncode == 2
    if (option, name) == ("--picture", "mask.jpg"):
        assert "no checkpoint at nowhere" in result.stderr
    else:
        assert result.stderr.startswith(f"predict: {tmp_path / name} must be named *.png, ")


@pytest.mark.parametrize(
    ("output", "picture", "message"),
    [
        ("photograph.png", None, "both the image and the mask"),
        ("mask.png", "photograph.png", "both the image and the picture"),
        ("mask.png", "../{folder}/mask.png", "both the mask and the picture"),
    ],
)
def test_no_file_is_written_over_another(tmp_path, weights, photograph, output, picture, message):
    before = photograph.read_bytes()
    arguments = ["--output", tmp_path / output]
    if picture is not None:
        arguments += ["--picture", tmp_path / picture.format(folder=tmp_path.name)]
    result = predict(photograph, "--click", "20,30", "--weights", weights, "--device", "cpu", *arguments)
    assert result.returncode == 2
    assert result.stderr == f"predict: {arguments[-1]} cannot be {message}\n"
    assert photograph.read_bytes() == before
    assert not (tmp_path / "mask.png").exists()


def test_a_mask_to_correct_is_not_replaced_by_a_picture(tmp_path, weights, photograph):
    mask = tmp_path / "before.png"
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(mask)
    before = mask.read_bytes()
    result = predict(
        photograph, "--click", "20,30", "--previous-mask", mask, "--output", tmp_path / "mask.png", "--picture", mask,
        "--weights", weights, "--device", "cpu",
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr == f"predict: {mask} cannot be both the previous mask and the picture\n"
    assert mask.read_bytes() == before


def test_a_mask_to_correct_may_be_replaced(tmp_path, weights, photograph):
    mask = tmp_path / "mask.png"
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(mask)
    result = predict(
        photograph, "--click", "20,30", "--previous-mask", mask, "--output", mask,
        "--weights", weights, "--device", "cpu",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert Image.open(mask).size == (64, 48)
