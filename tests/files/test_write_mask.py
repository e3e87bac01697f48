from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from activefreq.files.volumes import Geometry, read_label_volume, write_mask

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
