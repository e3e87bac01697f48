from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from enhanced import enhanced
from geometries import assert_same_geometry
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from synthetic import oblique_volume

from activefreq.errors import InputError
from activefreq.files.dicom import dicom_series
from activefreq.files.grids import Volume
from activefreq.files.volumes import read_geometry, read_volume


@pytest.fixture
def volume() -> Volume:
    made, _ = oblique_volume(0, (6, 8, 5))
    return Volume(np.rint(made.array).astype(np.int16), made.geometry)


@pytest.fixture
def slices(volume: Volume) -> list[Dataset]:
    return list(dicom_series(volume, name="scan").slices)


def written(path: Path, slices: Sequence[Dataset]) -> Path:
    enhanced(slices).save_as(path)
    return path


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (3, 0, 5, 1, 4, 2)])
def test_frames_are_a_volume_in_whatever_order_they_come(tmp_path, volume, slices, order):
    path = written(tmp_path / "scan.dcm", [slices[index] for index in order])
    read = read_volume(path)
    np.testing.assert_array_equal(read.array, volume.array)
    assert_same_geometry(read.geometry, volume.geometry)
    assert_same_geometry(read_geometry(path), volume.geometry)


def test_frames_that_fall_stay_as_they_are_and_each_has_its_place(tmp_path, volume, slices):
    path = written(tmp_path / "scan.dcm", slices[::-1])
    read = read_volume(path)
    np.testing.assert_array_equal(read.array, volume.array[::-1])
    corners = np.array([[0, 0, 0], [4, 7, 0], [0, 0, 5], [2, 3, 1]])
    mirrored = corners * [1, 1, -1] + [0, 0, 5]
    np.testing.assert_allclose(read.geometry.points(corners), volume.geometry.points(mirrored), atol=1e-5)
    assert_same_geometry(read_geometry(path), read.geometry)


def test_frames_of_several_times_are_refused(tmp_path, slices):
    for name, order in (("a.dcm", [*slices, *slices]), ("b.dcm", [one for one in slices for _ in range(2)])):
        path = written(tmp_path / name, order)
        for read in (read_volume, read_geometry):
            with pytest.raises(InputError, match="6 of its 12 slices lie where another one lies"):
                read(path)


def test_frames_with_a_gap_are_refused(tmp_path, slices):
    with pytest.raises(InputError, match="is one missing"):
        read_volume(written(tmp_path / "scan.dcm", [*slices[:2], *slices[3:]]))


def test_frames_of_a_tilted_gantry_are_refused(tmp_path, slices):
    for number, one in enumerate(slices):
        along = np.array(one.ImageOrientationPatient[3:], float)
        one.ImagePositionPatient = (np.array(one.ImagePositionPatient, float) + 0.5 * number * along).tolist()
    with pytest.raises(InputError, match="beside the first one"):
        read_volume(written(tmp_path / "scan.dcm", slices))


def test_frames_that_are_scaled_unlike_each_other_are_refused(tmp_path, slices):
    made = enhanced(slices)
    for number, frame in enumerate(made.PerFrameFunctionalGroupsSequence):
        scale = Dataset()
        scale.RescaleSlope, scale.RescaleIntercept = 1 + number // 3, 0
        frame.PixelValueTransformationSequence = [scale]
    made.save_as(tmp_path / "scan.dcm")
    with pytest.raises(InputError, match="scaled unlike each other"):
        read_volume(tmp_path / "scan.dcm")


def test_frames_of_which_some_have_no_place_are_refused(tmp_path, slices):
    made = enhanced(slices)
    del made.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence
    made.save_as(tmp_path / "scan.dcm")
    with pytest.raises(InputError, match="1 of its 6 frames have no position"):
        read_volume(tmp_path / "scan.dcm")
    del made.PerFrameFunctionalGroupsSequence[2]
    made.save_as(tmp_path / "scan.dcm")
    with pytest.raises(InputError, match="has 6 frames, but says of 5 where they lie"):
        read_volume(tmp_path / "scan.dcm")


@pytest.mark.parametrize(
    ("first", "message"), [(3, "has 2 files of several frames each"), (5, "several frames each"), (1, "Size mismatch")]
)
def test_several_files_of_frames_are_no_volume(tmp_path, slices, first, message):
    for number, part in enumerate((slices[:first], slices[first:])):
        made = enhanced(part)
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        made.save_as(tmp_path / f"{number}.dcm")
    with pytest.raises(InputError, match=message):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    ("group", "keyword", "value"),
    [
        ("PlaneOrientationSequence", "ImageOrientationPatient", [1, 0, 0, 0, 1]),
        ("PlaneOrientationSequence", "ImageOrientationPatient", [0, 0, 0, 0, 0, 0]),
        ("PlaneOrientationSequence", "ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        ("PlanePositionSequence", "ImagePositionPatient", [1, 2]),
        ("PlanePositionSequence", "ImagePositionPatient", ["nan", 0, 0]),
        ("PixelMeasuresSequence", "PixelSpacing", [0, 1]),
        ("PixelMeasuresSequence", "PixelSpacing", 1),
    ],
)
def test_frames_whose_places_are_none_are_refused(tmp_path, slices, group, keyword, value):
    made = enhanced(slices)
    for frame in made.PerFrameFunctionalGroupsSequence:
        said = Dataset()
        setattr(said, keyword, value)
        setattr(frame, group, [said])
    made.save_as(tmp_path / "scan.dcm")
    for read in (read_volume, read_geometry):
        with pytest.raises(InputError, match=r"scan\.dcm: "):
            read(tmp_path / "scan.dcm")


def test_a_film_is_a_stack_of_its_pictures(tmp_path, volume, slices):
    made = enhanced(slices)
    del made.PerFrameFunctionalGroupsSequence, made.SharedFunctionalGroupsSequence
    made.save_as(tmp_path / "film.dcm")
    np.testing.assert_array_equal(read_volume(tmp_path / "film.dcm").array, volume.array)
