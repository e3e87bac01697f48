import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from scipy import ndimage
from synthetic import grey_ring
from tiny import make_tiny_model

from activefreq.clicks import Click
from activefreq.models.checkpoint import Checkpoint, save_checkpoint
from activefreq.session.segmenter import InteractiveSegmenter, SegmentationResult

SCRIPT = Path(__file__).parents[2] / "scripts" / "ring_labels.py"


@pytest.fixture
def ring_labels() -> Callable[..., int]:
    spec = importlib.util.spec_from_file_location("ring_labels", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return lambda *arguments: script.main([*map(str, arguments)])


@pytest.fixture
def cavities(tmp_path: Path) -> Path:
    """Two bright pools in dark rings, and the masks of the pools."""
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for seed in range(2):
        image, ring = grey_ring(seed, (128, 128), thickness=7.0)
        pool = ndimage.binary_fill_holes(ring) & ~ring
        Image.fromarray(image).save(tmp_path / "images" / f"heart{seed}.png")
        Image.fromarray(pool.astype(np.uint8) * 255).save(tmp_path / "labels" / f"heart{seed}.png")
    return tmp_path


def test_what_a_model_says_of_the_clicks_becomes_a_label(ring_labels, cavities, monkeypatch, capsys) -> None:
    asked = []

    def predict(self, image: np.ndarray, clicks: list[Click], previous: np.ndarray | None = None) -> SegmentationResult:
        """Dark pixels are the ring."""
        asked.append([click.positive for click in clicks])
        mask = ndimage.binary_dilation(ndimage.median_filter(image, 3) < 65)
        return SegmentationResult(mask, mask.astype(np.float32))

    monkeypatch.setattr(InteractiveSegmenter, "predict", predict)
    output = cavities / "rings"
    code = ring_labels(
        "--images", cavities / "images", "--labels", cavities / "labels", "--weights", "default", "--device", "cpu",
        "--output", output,
    )  # fmt: skip
    assert code == 0
    assert "2 rings of 2 objects" in capsys.readouterr().out
    assert asked == [[True, False, True, True, True]] * 2
    for seed in range(2):
        truth = grey_ring(seed, (128, 128), thickness=7.0)[1]
        found = np.array(Image.open(output / "labels" / f"heart{seed}.png")) > 0
        assert (found & truth).sum() / (found | truth).sum() > 0.7
        np.testing.assert_array_equal(
            np.array(Image.open(output / "images" / f"heart{seed}.png")),
            np.array(Image.open(cavities / "images" / f"heart{seed}.png")),
        )


def test_what_shows_no_ring_has_no_label(ring_labels, cavities, tmp_path, capsys) -> None:
    save_checkpoint(tmp_path / "tiny.pt", Checkpoint(make_tiny_model(0)))
    code = ring_labels(
        "--images", cavities / "images", "--labels", cavities / "labels", "--weights", tmp_path / "tiny.pt",
        "--exclude", "heart1", "--output", tmp_path / "rings",
    )  # fmt: skip
    assert code == 0
    assert "0 rings of 1 objects" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "rings").iterdir()] == ["settings.json"]


@pytest.mark.parametrize("labels", ["labels", "labels/heart0.png"])
def test_the_labels_it_is_given_are_not_replaced(ring_labels, cavities, labels, capsys) -> None:
    images = labels.replace("labels", "images")
    before = {path: path.read_bytes() for path in cavities.rglob("*.png")}
    code = ring_labels(
        "--images", cavities / images, "--labels", cavities / labels, "--output", cavities / "images" / ".."
    )
    assert code == 2
    assert f"would be written over {cavities / images}: take another folder" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in cavities.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("changed", "message"), [(("--weights", "other.pt"), "weights"), (("--exclude", "heart0"), "exclude")]
)
def test_rings_by_other_weights_or_of_other_objects_are_not_mixed(
    ring_labels, cavities, changed, message, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(cavities)
    for seed, name in enumerate(("tiny.pt", "other.pt")):
        save_checkpoint(cavities / name, Checkpoint(make_tiny_model(seed)))
    given = ["--images", "images", "--labels", "labels", "--exclude", "heart1", "--device", "cpu", "--output", "rings"]
    given += ["--weights", "tiny.pt"]
    assert ring_labels(*given) == 0
    assert ring_labels(*given) == 0
    assert ring_labels(*given, *changed) == 2
    assert f"rings holds what other settings made ({message} " in capsys.readouterr().err


def test_an_object_that_fills_its_image_is_passed_over(ring_labels, cavities, capsys) -> None:
    full = np.full((128, 128), 255, np.uint8)
    full[0, 0] = 0  # else it would be taken for an inverted mask
    for name in ("heart0", "heart1"):
        Image.fromarray(full).save(cavities / "labels" / f"{name}.png")
    (cavities / "seen.txt").write_text("heart1\n")
    code = ring_labels(
        "--images", cavities / "images", "--labels", cavities / "labels", "--weights", "default", "--device", "cpu",
        "--exclude", cavities / "seen.txt", "--output", cavities / "rings",
    )  # fmt: skip
    assert code == 0
    assert "0 rings of 1 objects" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["float32", "uint16 colour"])
def test_an_image_that_png_cannot_hold_is_named_before_anything_is_written(ring_labels, cavities, kind, capsys) -> None:
    """The second of two."""
    (cavities / "images" / "heart1.png").unlink()
    if kind == "float32":
        Image.fromarray(np.full((128, 128), -0.5, np.float32)).save(cavities / "images" / "heart1.tif")
    else:
        colour = sitk.GetImageFromArray(np.full((128, 128, 3), 1000, np.uint16), isVector=True)
        sitk.WriteImage(colour, str(cavities / "images" / "heart1.png"))
    code = ring_labels("--images", cavities / "images", "--labels", cavities / "labels", "--output", cavities / "rings")
    assert code == 2
    expected = {"float32": "grey of float32", "uint16 colour": "colour of uint16"}[kind]
    assert f"ring_labels: heart1: {expected} cannot be written as PNG" in capsys.readouterr().err
    assert not (cavities / "rings").exists()


def test_a_missing_folder_is_one_line(ring_labels, tmp_path, capsys) -> None:
    assert ring_labels("--images", tmp_path / "none", "--labels", tmp_path, "--output", tmp_path / "rings") == 2
    assert capsys.readouterr().err.startswith("ring_labels: ")
