"""Headers that name other files, as hostile uploads have them; ITK would read whatever file they name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from activefreq.errors import InputError
from activefreq.files.volumes import read_geometry, read_volume

NRRD = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nencoding: raw\n{field}\n\n{rest}"
META = "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_UCHAR\nElementDataFile = {name}\n"
VOXELS = bytes(range(24))


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere" / "secret.raw"
    path.parent.mkdir()
    path.write_bytes(VOXELS)
    return path


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".NRRD"])
@pytest.mark.parametrize(
    ("field", "rest"),
    [
        ("data file: {secret}", ""),
        ("datafile:{secret}", ""),
        ("Data File: ../elsewhere/secret.raw", ""),
        ("data file: LIST", "{secret}\n"),
        ("data file: ../elsewhere/secret%d.raw 0 1 1", ""),
    ],
)
def test_a_nrrd_reads_no_file_of_another_folder(
    tmp_path: Path, secret: Path, suffix: str, field: str, rest: str
) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    path = folder / f"a{suffix}"
    path.write_text(NRRD.format(field=field.format(secret=secret), rest=rest.format(secret=secret)))
    for read in (read_volume, read_geometry):
        with pytest.raises(InputError, match="its voxels are in another f"):
            read(path)


@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
@pytest.mark.parametrize(
    "name", ["{secret}", "../elsewhere/secret.raw", "LIST\n{secret}", "../elsewhere/s%d.raw 0 1 1"]
)
def test_a_metaimage_reads_no_file_of_another_folder(tmp_path: Path, secret: Path, suffix: str, name: str) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    path = folder / f"a{suffix}"
    path.write_text(META.format(name=name.format(secret=secret)))
    for read in (read_volume, read_geometry):
        with pytest.raises(InputError, match="its voxels are in another f"):
            read(path)


@pytest.mark.parametrize(
    ("suffix", "text"), [(".nrrd", NRRD.format(field="data file: a.raw", rest="")), (".mha", META.format(name="a.raw"))]
)
def test_formats_of_one_file_have_none_beside_them(tmp_path: Path, suffix: str, text: str) -> None:
    (tmp_path / "a.raw").write_bytes(VOXELS)
    (tmp_path / f"a{suffix}").write_text(text)
    with pytest.raises(InputError, match="in another file, which is not allowed in this format"):
        read_volume(tmp_path / f"a{suffix}")


@pytest.mark.parametrize(
    ("suffix", "text"),
    [(".nhdr", NRRD.format(field="data file: b c.raw", rest="")), (".mhd", META.format(name="b c.raw"))],
)
def test_formats_of_two_files_have_the_other_beside_them(tmp_path: Path, suffix: str, text: str) -> None:
    (tmp_path / "b c.raw").write_bytes(VOXELS)
    (tmp_path / f"a{suffix}").write_text(text)
    np.testing.assert_array_equal(read_volume(tmp_path / f"a{suffix}").array.ravel(), np.arange(24))


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd"])
def test_what_itk_writes_is_read(tmp_path: Path, suffix: str) -> None:
    """Also where the voxels look like a header."""
    text = b"\nElementDataFile = /etc/passwd\ndata file: /etc/passwd\n".ljust(64)
    array = np.frombuffer(text, np.uint8).reshape(4, 4, 4)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / f"a{suffix}"))
    np.testing.assert_array_equal(read_volume(tmp_path / f"a{suffix}").array, array)
