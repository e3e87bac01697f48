"""What is written is read back with GDCM, which is what MONAI Label reads series with, too."""

import io

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pydicom.uid import UID
from scipy.spatial.transform import Rotation

from activefreq.errors import InputError
from activefreq.files.dicom import SINGLE_IMAGE_SLICES, dicom_series, write_dicom
from activefreq.files.grids import Geometry, Volume
from activefreq.files.volumes import read_volume

OBLIQUE = tuple(Rotation.from_euler("xyz", (17, -29, 11), degrees=True).as_matrix().ravel().tolist())
LEFT_HANDED = tuple((np.reshape(OBLIQUE, (3, 3)) @ np.diag([1, 1, -1])).ravel().tolist())


def volume(array: np.ndarray, *, spacing=(0.7, 1.1, 3.5), direction=OBLIQUE) -> Volume:
    return Volume(array, Geometry(array.shape[:3], spacing, (-12.5, 40.25, 7.0), direction))


def ramp(shape=(4, 6, 5), dtype=np.int16) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32])
def test_integers_come_back_exactly_with_their_geometry(dtype, tmp_path):
    image = volume(ramp(dtype=dtype))
    write_dicom(dicom_series(image, name="case"), tmp_path)
    back = read_volume(tmp_path)
    np.testing.assert_array_equal(back.array, image.array)
    np.testing.assert_allclose(back.geometry.spacing, image.geometry.spacing, rtol=1e-9)
    np.testing.assert_allclose(back.geometry.origin, image.geometry.origin, atol=1e-9)
    np.testing.assert_allclose(back.geometry.direction, image.geometry.direction, atol=1e-9)


@pytest.mark.parametrize("array", [ramp() - 60, ramp(dtype=np.uint16) + np.uint16(65000)], ids=["signed", "large"])
def test_the_whole_range_of_16_bits_is_kept(array, tmp_path):
    write_dicom(dicom_series(volume(array), name="case"), tmp_path)
    np.testing.assert_array_equal(read_volume(tmp_path).array, array)


def test_a_left_handed_volume_keeps_every_voxel_in_its_place(tmp_path):
    """Readers order slices along the normal of the image plane, so k runs backwards after the round trip."""
    image = volume(ramp(), direction=LEFT_HANDED)
    write_dicom(dicom_series(image, name="case"), tmp_path)
    back = read_volume(tmp_path)
    np.testing.assert_array_equal(back.array, image.array[::-1])
    corners = np.array([[i, j, k] for i in (0, 4) for j in (0, 5) for k in range(4)])
    flipped = corners * [1, 1, -1] + [0, 0, 3]
    np.testing.assert_allclose(back.geometry.points(flipped), image.geometry.points(corners), atol=1e-6)


def test_a_photograph_becomes_identical_slices_that_ohif_opens(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (1, 7, 5, 3), dtype=np.uint8)
    photograph = Volume(pixels, Geometry((1, 7, 5), (0.25, 0.5, 1.0)))
    series = dicom_series(photograph, name="photograph")
    write_dicom(series, tmp_path)
    back = read_volume(tmp_path)
    np.testing.assert_array_equal(back.array, np.repeat(pixels, SINGLE_IMAGE_SLICES, axis=0))
    assert back.geometry.spacing == pytest.approx((0.25, 0.5, 1.0))
    for dataset in series.slices:
        assert dataset.Modality == "MR"
        assert dataset.PhotometricInterpretation == "RGB"
        assert dataset.FrameOfReferenceUID == series.slices[0].FrameOfReferenceUID
    assert len({tuple(s.ImagePositionPatient) for s in series.slices}) == SINGLE_IMAGE_SLICES


def test_deep_colours_keep_their_upper_8_bits():
    deep = np.array([0x0000, 0x12FF, 0xFFFF], np.uint16).reshape(1, 1, 1, 3)
    series = dicom_series(Volume(deep, Geometry((1, 1, 1))), name="case")
    assert series.slices[1].pixel_array.tolist() == [[[0x00, 0x12, 0xFF]]]


def test_the_slice_of_a_volume_of_one_slice_stays_in_its_place(tmp_path):
    image = volume(ramp((1, 6, 5)))
    write_dicom(dicom_series(image, name="case"), tmp_path)
    back = read_volume(tmp_path)
    np.testing.assert_array_equal(back.array, np.repeat(image.array, SINGLE_IMAGE_SLICES, axis=0))
    middle = back.geometry.points(np.array([[0, 0, SINGLE_IMAGE_SLICES // 2]]))[0]
    np.testing.assert_allclose(middle, image.geometry.origin, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(array=npst.arrays(np.float64, (2, 3, 2), elements=st.floats(-1e6, 1e6).map(lambda value: round(value, 6))))
def test_other_values_come_back_within_half_a_step(array):
    slices = dicom_series(volume(array), name="case").slices
    slope, intercept = float(slices[0].RescaleSlope), float(slices[0].RescaleIntercept)
    values = np.stack([s.pixel_array for s in slices]) * slope + intercept
    # Slope and intercept are written with at least ten digits, and the slope is multiplied by up to 65535.
    assert np.abs(values - array).max() <= slope * (0.5 + 1e-4) + 1e-9
    assert slope == 1.0 or slope <= np.ptp(array) / 65535 * (1 + 1e-9)


def test_integers_too_far_apart_for_16_bits_are_rescaled():
    array = np.array([0, 1_000_000], np.int32).reshape(2, 1, 1)
    slices = dicom_series(volume(array), name="case").slices
    assert [int(s.pixel_array[0, 0]) for s in slices] == [0, 65535]
    assert float(slices[0].RescaleSlope) * 65535 == pytest.approx(1_000_000)


def test_identifiers_follow_from_the_image_and_its_name():
    image = volume(ramp())
    first, again = dicom_series(image, name="case"), dicom_series(image, name="case")
    assert [s.SOPInstanceUID for s in first.slices] == [s.SOPInstanceUID for s in again.slices]
    assert (first.study_uid, first.series_uid) == (again.study_uid, again.series_uid)
    others = [
        dicom_series(image, name="other"),
        dicom_series(volume(ramp() + np.int16(1)), name="case"),
        dicom_series(volume(ramp(), spacing=(0.7, 1.1, 3.6)), name="case"),
        dicom_series(volume(ramp(dtype=np.uint16)), name="case"),
    ]
    assert len({s.study_uid for s in [first, *others]}) == 5


def test_identifiers_are_valid_and_differ():
    series = dicom_series(volume(ramp()), name="case")
    uids = {series.study_uid, series.series_uid, str(series.slices[0].FrameOfReferenceUID)}
    uids |= {str(s.SOPInstanceUID) for s in series.slices}
    assert len(uids) == 3 + len(series.slices)
    assert all(UID(uid).is_valid for uid in uids)


def test_the_files_are_conforming_part_10_files_in_order(tmp_path):
    series = dicom_series(volume(ramp()), name="Läsion ^1=2\\3" + "x" * 80)
    files = write_dicom(series, tmp_path / "new" / "folder")
    assert [f.name for f in files] == ["0001.dcm", "0002.dcm", "0003.dcm", "0004.dcm"]
    for k, path in enumerate(files):
        dataset = pydicom.dcmread(path)
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert dataset.PatientID == dataset.PatientName == "Läsion _1_2_3" + "x" * 50
        np.testing.assert_array_equal(dataset.pixel_array, ramp()[k])


def test_what_a_dicomweb_client_sends_is_a_readable_file():
    series = dicom_series(volume(ramp()), name="case")
    body = io.BytesIO()
    pydicom.dcmwrite(body, series.slices[2])  # as dicomweb_client.DICOMwebClient.store_instances does
    body.seek(0)
    np.testing.assert_array_equal(pydicom.dcmread(body).pixel_array, ramp()[2])


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.zeros((2, 2, 2, 3), np.float32), "colour images must be of type uint8"),
        (np.zeros((2, 2, 2), bool), "type bool"),
        (np.zeros((2, 2, 2), np.complex64), "type complex64"),
        (np.zeros((0, 2, 2), np.uint8), "no voxels"),
        (np.full((2, 2, 2), np.nan), "not finite"),
        (np.array([0, np.inf]).reshape(2, 1, 1), "not finite"),
    ],
)
def test_what_cannot_be_stored_is_named(array, problem):
    with pytest.raises(InputError, match=f"case: .*{problem}"):
        dicom_series(volume(array), name="case")


def test_a_folder_with_another_series_is_left_alone(tmp_path):
    write_dicom(dicom_series(volume(ramp((6, 5, 4))), name="first"), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match=r"holds another series \(0005\.dcm is not of this one\)"):
        write_dicom(dicom_series(volume(ramp((4, 5, 4))), name="second"), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
