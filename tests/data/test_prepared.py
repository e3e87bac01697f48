from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from activefreq.data.prepared import PartFolder, claim_folder
from activefreq.errors import InputError

MASK = np.eye(8, dtype=bool)


@pytest.mark.parametrize(
    "image", [np.eye(8, dtype=np.uint8), np.full((8, 8, 3), 9, np.uint8), np.eye(8, dtype=np.uint16)]
)
def test_pairs_are_written_as_they_are(tmp_path: Path, image: np.ndarray) -> None:
    folder = PartFolder(tmp_path, ".png")
    assert not folder.holds("a")
    folder.write("a", image, MASK)
    assert folder.holds("a")
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "images" / "a.png")), image)
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "labels" / "a.png")), MASK * 255)


@pytest.mark.parametrize(
    ("suffix", "image", "message"),
    [
        (".png", np.zeros((8, 8), np.float32), "a: grey of float32 cannot be written as PNG"),
        (".png", np.zeros((8, 8, 3), np.uint16), "a: colour of uint16 cannot be written as PNG"),
        (".png", np.zeros((8, 8), np.int16), "a: grey of int16 cannot be written as PNG"),
        (".jpg", np.zeros((8, 8), np.uint16), "a: grey of uint16 cannot be written as JPG"),
    ],
)
def test_what_the_format_cannot_hold_is_named_and_nothing_is_written(
    tmp_path: Path, suffix: str, image: np.ndarray, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        PartFolder(tmp_path, suffix).write("a", image, MASK)
    assert not list(tmp_path.iterdir())


def test_a_folder_keeps_its_settings_and_says_which_others_were_meant(tmp_path: Path) -> None:
    claim_folder(tmp_path / "out", {"size": 64, "parts": ("train",), "seed": 1})
    claim_folder(tmp_path / "out", {"size": 64, "parts": ("train",), "seed": 1})
    before = (tmp_path / "out" / "settings.json").read_text()
    with pytest.raises(InputError, match=r"settings made \(seed 1, not None; size 64, not 96\) \(see .*settings"):
        claim_folder(tmp_path / "out", {"size": 96, "parts": ("train",)})
    assert (tmp_path / "out" / "settings.json").read_text() == before


def test_settings_that_cannot_be_read_are_others(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(InputError, match=r"other settings made \(see "):
        claim_folder(tmp_path, {"size": 64})
