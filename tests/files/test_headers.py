"""Headers that name other files, as hostile uploads have them; ITK would read whatever file they name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from activefreq.errors import InputError
from activefreq.files.dicom import dicom_series, write_dicom
from activefreq.files.grids import Geometry, Volume
from activefreq.files.volumes import read_geometry, read_label_volume, read_volume

NRRD = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nencoding: raw\n{field}\n\n{rest}"
META = "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_UCHAR\nElementDataFile = {name}\n"
VOXELS = bytes(range(24))


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere" / "secret.raw"
    path.parent.mkdir()
    path.write_bytes(VOXELS)
    return path


def assert_refused(path: Path, reason: str) -> None:
    """By all that reads a file: an image, a label or previous mask, and the header that is looked at before."""
    for read in (read_volume, read_label_volume, read_geometry):
        with pytest.raises(InputError, match=reason):
            read(path)


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
    assert_refused(path, "its voxels are in another f")


@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
@pytest.mark.parametrize(
    "name", ["{secret}", "../elsewhere/secret.raw", "LIST\n{secret}", "../elsewhere/s%d.raw 0 1 1"]
)
def test_a_metaimage_reads_no_file_of_another_folder(tmp_path: Path, secret: Path, suffix: str, name: str) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    path = folder / f"a{suffix}"
    path.write_text(META.format(name=name.format(secret=secret)))
    assert_refused(path, "its voxels are in another f")


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


HIDDEN_NRRD = {
    "end of text": ("# a\v\vb\ndata file: {secret}", "characters that belong into none"),
    "form feed": ("# a\f\f\ndata file: {secret}", "characters that belong into none"),
    "end of line": ("# a\rdata file: {secret}", "characters that belong into none"),
    "separator": ("# a\x1e\x85\x1e\u2028\ndata file: {secret}", "in another file"),
    "far down": ("# " + "x" * 4000 + ("\n# " + "x" * 4000) * 270 + "\ndata file: {secret}", "longer than"),
    "spaces": ("data file: \t {secret}\t", "in another file"),
    "input": ("data file: -", "in another file"),
    "list": ("data file: LIST 2\n{secret}\n{secret}", "in another file"),
    "empty list": ("data file: LIST", "a list of files that cannot be used"),
    "no list": ("data file: LISTE", "a list of files that cannot be used"),
    "list in lower case": ("data file: list/../{secret}", "in another file"),
    "pattern": ("data file: %s 0 1 1", "by a pattern that cannot be used"),
}


@pytest.mark.parametrize("case", HIDDEN_NRRD)
def test_a_data_file_cannot_be_hidden_in_a_nrrd(tmp_path: Path, secret: Path, case: str) -> None:
    field, reason = HIDDEN_NRRD[case]
    path = tmp_path / "a.nrrd"
    path.write_bytes(NRRD.format(field=field.replace("{secret}", str(secret)), rest="").encode())
    assert_refused(path, reason)


HIDDEN_META = {
    "colon": ("ElementDataFile : {secret}\n", "in another file"),
    "nothing between": ("ElementDataFile={secret}\n", "in another file"),
    "colon and more": ("ElementDataFile =:= {secret}\n", "in another file"),
    "before it": ("\vElementDataFile = {secret}\n", "characters that belong into none"),
    "null": ("ElementDataFile\0x = {secret}\n", "characters that belong into none"),
    "end of line": ("Comment = a\rElementDataFile = {secret}\n", "characters that belong into none"),
    "separator alone": (":\nElementDataFile = {secret}\n", "not 'name = value'"),
    "two lines": ("ElementDataFile\n= {secret}\n", "not 'name = value'"),
    "numbers that go on": ("Offset = 1 2\nElementDataFile = LOCAL\nElementDataFile = {secret}\n", "too few numbers"),
    "number that goes on": ("ElementMin =\nElementDataFile = LOCAL\nElementDataFile = {secret}\n", "too few numbers"),
    "no dimensions": ("NDims = x\nOffset = 1\nElementDataFile = LOCAL\n", "no number of dimensions"),
    "far down": (("Foo = " + "x" * 400 + "\n") * 3000 + "ElementDataFile = {secret}\n", "longer than"),
    "list in lower case": ("ElementDataFile = list/../{secret}\n", "in another file"),
    "list of a number": ("ElementDataFile = LIST 2\n{secret}\n{secret}\n", "in another file"),
    "empty list": ("ElementDataFile = LIST\n", "a list of files that cannot be used"),
    "almost local": ("ElementDataFile = LoCaL\n", "in another file"),
    "home": ("ElementDataFile = ~\n", "in another file"),
    "nowhere": ("", "does not say where its voxels are"),
}


@pytest.mark.parametrize("case", HIDDEN_META)
def test_a_data_file_cannot_be_hidden_in_a_metaimage(tmp_path: Path, secret: Path, case: str) -> None:
    text, reason = HIDDEN_META[case]
    path = tmp_path / "a.mha"
    start = META.removesuffix("ElementDataFile = {name}\n")
    path.write_bytes((start + text.replace("{secret}", str(secret))).encode())
    assert_refused(path, reason)


@pytest.mark.parametrize(
    "name", ["a.h5", "a.hdf5", "a.hdf", "a.mnc", "a.vtk", "a.gipl", "a.mrc", "a.img", "a.hdr", "a"]
)
def test_other_formats_of_itk_are_refused_by_their_names(tmp_path: Path, name: str) -> None:
    """HDF5, also as MINC, has voxels in other files where it likes."""
    (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    assert_refused(tmp_path / name, "its extension none that is read")


READ_ALIKE = {"a.nhdr": "a.nrrd", "a.nrrd": "a.nrrd", "a.mhd": "a.mha", "a.mha": "a.mha"}
NAMES = ["a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.nii", "a.nii.gz", "a.dcm", "a.png", "a.tif"]


@pytest.mark.parametrize(
    ("name", "content"),
    [(name, content) for name in NAMES for content in ("a.hdf5", "a.nrrd", "a.mha") if READ_ALIKE.get(name) != content],
)
def test_what_is_in_a_file_chooses_no_other_reader(tmp_path: Path, name: str, content: str) -> None:
    image = sitk.GetImageFromArray(np.frombuffer(VOXELS, np.uint8).reshape(2, 3, 4))
    written = tmp_path / "written" / content
    written.parent.mkdir()
    sitk.WriteImage(image, str(written))
    assert sitk.ReadImage(str(written)).GetSize() == (4, 3, 2)
    written.rename(tmp_path / name)
    assert_refused(tmp_path / name, "a\\.")


def test_a_dicom_file_needs_no_extension(tmp_path: Path) -> None:
    series = dicom_series(Volume(np.arange(36, dtype=np.int16).reshape(3, 3, 4), Geometry((3, 3, 4))), name="a")
    write_dicom(series, tmp_path)
    (tmp_path / "0002.dcm").rename(tmp_path / "1.2.840")
    np.testing.assert_array_equal(read_volume(tmp_path / "1.2.840").array.ravel(), np.arange(12, 24))


@pytest.mark.parametrize(
    ("suffix", "text"),
    [(".nhdr", NRRD.format(field="data file: b.raw", rest="")), (".mhd", META.format(name="b.raw"))],
)
def test_the_other_file_is_a_file(tmp_path: Path, suffix: str, text: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text(text)
    assert_refused(path, r"should be in b\.raw, but beside it is no such file")
    os.mkfifo(tmp_path / "b.raw")
    assert_refused(path, r"should be in b\.raw, but beside it is no such file")
    (tmp_path / "b.raw").unlink()
    (tmp_path / "c.raw").write_bytes(VOXELS)
    (tmp_path / "b.raw").symlink_to("c.raw")
    np.testing.assert_array_equal(read_volume(path).array.ravel(), np.arange(24))


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".nhdr", NRRD.format(field="data file: s%02d.raw 1 2 1", rest="")),
        (".nhdr", NRRD.format(field="data file: LIST", rest="").rstrip() + "\ns01.raw\ns02.raw\n"),
        (".mhd", META.format(name="s%02d.raw 1 2 1")),
        (".mhd", META.format(name="LIST\ns01.raw\ns02.raw")),
    ],
)
def test_a_file_for_every_slice(tmp_path: Path, suffix: str, text: str) -> None:
    (tmp_path / "s01.raw").write_bytes(VOXELS[:12])
    (tmp_path / "s02.raw").write_bytes(VOXELS[12:])
    (tmp_path / f"a{suffix}").write_text(text)
    np.testing.assert_array_equal(read_volume(tmp_path / f"a{suffix}").array.ravel(), np.arange(24))


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_notes_in_a_header_are_left_alone(tmp_path: Path, suffix: str) -> None:
    """As DICOM's entries that SimpleITK keeps, with lines that end as in Windows."""
    image = sitk.GetImageFromArray(np.frombuffer(VOXELS, np.uint8).reshape(2, 3, 4))
    image.SetMetaData("0008|0008", "ORIGINAL\\PRIMARY")
    image.SetMetaData("0010|0010", "M\xfcller: a=b")
    image.SetMetaData("long", "y" * 600)
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(image, str(path))
    header = path.read_bytes()[:-24]
    path.write_bytes(header.replace(b"\n", b"\r\n") + VOXELS)
    np.testing.assert_array_equal(read_volume(path).array.ravel(), np.arange(24))


@pytest.mark.parametrize(
    ("suffix", "text"),
    [(".nhdr", NRRD.format(field="data file: ./b.raw", rest="")), (".mhd", META.format(name="./b.raw"))],
)
def test_a_data_file_may_be_said_to_be_here(tmp_path: Path, suffix: str, text: str) -> None:
    (tmp_path / "b.raw").write_bytes(VOXELS)
    (tmp_path / f"a{suffix}").write_text(text)
    np.testing.assert_array_equal(read_volume(tmp_path / f"a{suffix}").array.ravel(), np.arange(24))
    for other in ("./../b.raw", "././b.raw", ".//b.raw", "./", "./.."):
        (tmp_path / f"a{suffix}").write_text(text.replace("./b.raw", other))
        assert_refused(tmp_path / f"a{suffix}", "its voxels are in another f")
