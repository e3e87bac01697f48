from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from scipy import ndimage

from activefreq.data.sample_studies import dermoscopy_like, mr_like, write_sample_studies


@pytest.mark.parametrize("seed", range(5))
def test_the_lesion_of_a_photograph_is_one_darker_piece(seed: int) -> None:
    sample = dermoscopy_like((96, 128), seed=seed)
    assert sample.image.shape == (96, 128, 3)
    assert sample.image.dtype == np.uint8
    assert sample.mask.shape == (96, 128)
    assert ndimage.label(sample.mask)[1] == 1
    assert 0.05 < sample.mask.mean() < 0.4
    grey = sample.image.mean(axis=2)
    assert grey[sample.mask].mean() < grey[~sample.mask].mean() - 50


@pytest.mark.parametrize("seed", range(3))
def test_the_lesion_of_a_volume_is_one_brighter_piece_on_several_slices(seed: int) -> None:
    sample = mr_like((48, 56, 12), seed=seed)
    scan = sitk.GetArrayFromImage(sample.image)
    assert scan.shape == sample.mask.shape == (12, 56, 48)
    assert scan.dtype == np.int16
    assert ndimage.label(sample.mask)[1] == 1
    assert sample.mask.any(axis=(1, 2)).sum() >= 3
    assert scan[sample.mask].mean() > scan[~sample.mask].mean() + 200


def test_a_volume_is_oblique_anisotropic_and_flipped() -> None:
    image = mr_like((48, 56, 12)).image
    direction = np.reshape(image.GetDirection(), (3, 3))
    np.testing.assert_allclose(direction @ direction.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(direction) == pytest.approx(-1)
    assert np.abs(direction).max() < 0.98
    assert image.GetSpacing() == (1.1, 1.1, 5.0)


def test_the_same_seed_makes_the_same_image() -> None:
    np.testing.assert_array_equal(dermoscopy_like((64, 64)).image, dermoscopy_like((64, 64)).image)
    assert (dermoscopy_like((64, 64)).image != dermoscopy_like((64, 64), seed=1).image).any()
    first, second = (sitk.GetArrayFromImage(mr_like((40, 40, 8)).image) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_fills_a_folder_once(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "studies"
    paths = write_sample_studies(folder)
    assert sorted(folder.iterdir()) == paths
    assert [path.name for path in paths] == [
        "cell.png",
        "dermoscopy.jpg",
        "mr_oblique.nii.gz",
        "retina.jpg",
        "tissue.png",
    ]
    assert Image.open(folder / "retina.jpg").mode == "RGB"
    assert Image.open(folder / "cell.png").mode == "L"
    # NIfTI keeps the geometry, up to its float32.
    written, made = sitk.ReadImage(str(folder / "mr_oblique.nii.gz")), mr_like().image
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), sitk.GetArrayFromImage(made))
    np.testing.assert_allclose(written.GetDirection(), made.GetDirection(), atol=1e-6)

    (folder / "cell.png").write_bytes(b"mine")
    assert write_sample_studies(folder) == paths
    assert (folder / "cell.png").read_bytes() == b"mine"
