from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from geometries import assert_same_geometry
from synthetic import OBLIQUE, oblique_volume, rgb_blob, write_picture

from activefreq.errors import InputError
from activefreq.files.grids import Geometry, Volume
from activefreq.files.volume_writing import write_mask, write_volume
from activefreq.files.volumes import read_geometry, read_label_volume, read_volume

GRID = Geometry((4, 32, 48), spacing=(0.5, 0.75, 3.0))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small disk to fill")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("extension", ["nrrd", "nii", "nii.gz", "mha"])
def test_a_full_disk_is_said_and_the_file_before_is_kept(small_disk: Path, extension: str) -> None:
    rng = np.random.default_rng(0)
    path = small_disk / f"mask.{extension}"
    before = rng.random(GRID.shape) > 0.5
    write_mask(path, before, like=GRID)

    large = Geometry((40, 160, 160))
    with pytest.raises(OSError, match="No space left") as caught:
        write_mask(path, rng.integers(0, 2**16, large.shape, dtype=np.uint16), like=large)
    assert caught.value.errno == errno.ENOSPC
    np.testing.assert_array_equal(read_label_volume(path).array == 1, before)
    assert list(small_disk.iterdir()) == [path]


def test_compression_is_a_choice(tmp_path: Path) -> None:
    mask = np.zeros(GRID.shape, bool)
    write_mask(tmp_path / "small.nrrd", mask, like=GRID)
    write_mask(tmp_path / "plain.nrrd", mask, like=GRID, compress=False)
    assert b"encoding: raw" in (tmp_path / "plain.nrrd").read_bytes()
    assert (tmp_path / "small.nrrd").stat().st_size < mask.size < (tmp_path / "plain.nrrd").stat().st_size


@pytest.mark.parametrize("extension", ["nii.gz", "nrrd", "mha", "mhd", "tif"])
def test_masks_come_back_as_written_with_the_geometry_of_the_image(tmp_path, extension):
    volume, labels = oblique_volume(1, (4, 6, 5))
    path = tmp_path / f"mask.{extension}"
    write_mask(path, labels, like=volume)
    if extension == "tif":
        np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), labels)
        return
    result = read_label_volume(path)
    np.testing.assert_array_equal(result.array, labels)
    assert_same_geometry(result.geometry, volume.geometry)
    write_mask(path, labels > 0, like=volume.geometry)
    result = read_label_volume(path)
    assert result.array.dtype == np.uint8
    np.testing.assert_array_equal(result.array, labels > 0)


@pytest.mark.parametrize("extension", ["png", "nii.gz", "nrrd", "bmp"])
def test_a_mask_of_a_picture(tmp_path, extension):
    image, mask = rgb_blob(3)
    write_picture(tmp_path / "a.jpg", image)
    path = tmp_path / f"mask.{extension}"
    write_mask(path, mask, like=read_geometry(tmp_path / "a.jpg"))
    np.testing.assert_array_equal(read_label_volume(path).array[0], mask)
    if extension == "nrrd":
        assert sitk.ReadImage(str(path)).GetSize() == (64, 48, 1)


def test_masks_that_cannot_be_written(tmp_path):
    volume, labels = oblique_volume(1, (4, 6, 5))
    with pytest.raises(InputError, match=r"\(6, 5\) does not fit the image of shape \(4, 6, 5\)"):
        write_mask(tmp_path / "a.nrrd", labels[0], like=volume)
    with pytest.raises(InputError, match="not float32"):
        write_mask(tmp_path / "a.nrrd", labels.astype(np.float32), like=volume)
    with pytest.raises(InputError, match="takes one slice, but the mask has 4"):
        write_mask(tmp_path / "a.png", labels, like=volume)
    with pytest.raises(InputError, match=r"a\.xyz: cannot be written"):
        write_mask(tmp_path / "a.xyz", labels, like=volume)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(1, 6, 5), (4, 6, 5), (1, 6, 5, 3), (4, 6, 5, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_volumes_come_back_as_written(tmp_path, shape, dtype):
    array = np.random.default_rng(0).integers(0, 99, shape).astype(dtype)
    volume = Volume(array, Geometry(shape[:3], (0.75, 1.25, 3.0), (-20.5, 31.0, 4.25), OBLIQUE))
    for extension in ("nii.gz", "nrrd"):
        path = tmp_path / f"a.{extension}"
        write_volume(path, volume)
        result = read_volume(path)
        assert result.array.dtype == dtype
        np.testing.assert_array_equal(result.array, array)
        assert_same_geometry(result.geometry, volume.geometry)


def test_volumes_that_cannot_be_written(tmp_path):
    volume, _ = oblique_volume(1, (4, 6, 5))
    with pytest.raises(InputError, match=r"a\.xyz: cannot be written"):
        write_volume(tmp_path / "a.xyz", volume)
    assert list(tmp_path.iterdir()) == []
