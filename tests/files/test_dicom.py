"""What is written is read back with GDCM, which is what MONAI Label reads series with."""

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pydicom.uid import UID

from activefreq.errors import InputError
from activefreq.files.dicom import SINGLE_IMAGE_SLICES, dicom_series, write_dicom

OBLIQUE = tuple(float(c) for c in np.array(sitk.Euler3DTransform((0, 0, 0), 0.3, -0.5, 0.2).GetMatrix()).round(12))


def volume(array: np.ndarray, *, direction=OBLIQUE, spacing=(0.7, 1.1, 3.5), origin=(-12.5, 40.25, 7.0)):
    image = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    return image


def read_back(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def ramp(shape=(4, 6, 5), dtype=np.int16) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32])
def test_integers_come_back_exactly_with_their_geometry(dtype, tmp_path):
    image = volume(ramp(dtype=dtype))
    write_dicom(dicom_series(image, name="case"), tmp_path)
    back = read_back(tmp_path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(back.GetSpacing(), image.GetSpacing(), rtol=1e-9)
    np.testing.assert_allclose(back.GetOrigin(), image.GetOrigin(), atol=1e-9)
    np.testing.assert_allclose(back.GetDirection(), image.GetDirection(), atol=1e-9)


def test_negative_integers_and_large_ones(tmp_path):
    for name, array in {"signed": ramp() - 60, "large": ramp(dtype=np.uint16) + np.uint16(65000)}.items():
        write_dicom(dicom_series(volume(array), name=name), tmp_path / name)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(read_back(tmp_path / name)), array)


def test_a_left_handed_volume_keeps_every_voxel_in_its_place(tmp_path):
    """Readers order slices along the normal of the image plane, so k runs backwards after the round trip."""
    flipped = np.reshape(OBLIQUE, (3, 3)) @ np.diag([1.0, 1.0, -1.0])
    image = volume(ramp(), direction=flipped.ravel().tolist())
    series = dicom_series(image, name="case")
    assert [s.InstanceNumber for s in series.slices] == [1, 2, 3, 4]
    write_dicom(series, tmp_path)
    back = read_back(tmp_path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(image)[::-1])
    for k in range(4):
        np.testing.assert_allclose(
            back.TransformIndexToPhysicalPoint((0, 0, 3 - k)),
            image.TransformIndexToPhysicalPoint((0, 0, k)),
            atol=1e-6,
        )


def test_a_color_photograph_becomes_identical_slices_that_ohif_lists(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (7, 5, 3), dtype=np.uint8)
    image = sitk.GetImageFromArray(pixels, isVector=True)
    image.SetSpacing((0.25, 0.5))
    series = dicom_series(image, name="photograph")
    write_dicom(series, tmp_path)
    back = read_back(tmp_path)
    assert back.GetSize() == (5, 7, SINGLE_IMAGE_SLICES)
    assert back.GetSpacing() == pytest.approx((0.25, 0.5, 1.0))
    for k in range(SINGLE_IMAGE_SLICES):
        np.testing.assert_array_equal(sitk.GetArrayFromImage(back)[k], pixels)
    for dataset in series.slices:
        assert dataset.Modality == "MR"
        assert dataset.PhotometricInterpretation == "RGB"
        assert dataset.FrameOfReferenceUID == series.slices[0].FrameOfReferenceUID
    assert len({tuple(s.ImagePositionPatient) for s in series.slices}) == SINGLE_IMAGE_SLICES


def test_the_slice_of_a_volume_of_one_slice_stays_in_its_place(tmp_path):
    image = volume(ramp((1, 6, 5)))
    write_dicom(dicom_series(image, name="case"), tmp_path)
    back = read_back(tmp_path)
    assert back.GetDepth() == SINGLE_IMAGE_SLICES
    middle = SINGLE_IMAGE_SLICES // 2
    np.testing.assert_allclose(back.TransformIndexToPhysicalPoint((0, 0, middle)), image.GetOrigin(), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    array=npst.arrays(
        np.float64,
        (2, 3, 2),
        elements=st.floats(-1e6, 1e6).map(lambda value: round(value, 6)),
    )
)
def test_other_values_come_back_within_half_a_step(array):
    slices = dicom_series(volume(array), name="case").slices
    slope, intercept = float(slices[0].RescaleSlope), float(slices[0].RescaleIntercept)
    values = np.stack([s.pixel_array for s in slices]) * slope + intercept
    # Ten digits of the slope are kept, and they are multiplied by up to 65535.
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
        dicom_series(volume(ramp() + 1), name="case"),
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
    ("image", "problem"),
    [
        (sitk.Image([2, 2, 2, 2], sitk.sitkUInt8), "4 dimensions"),
        (sitk.Image([2, 2], sitk.sitkVectorUInt8, 4), "4 components of type uint8"),
        (sitk.Image([2, 2], sitk.sitkVectorUInt16, 3), "3 components of type uint16"),
        (sitk.Image([2, 2], sitk.sitkComplexFloat32), "complex64"),
        (volume(np.full((2, 2, 2), np.nan)), "not finite"),
        (volume(np.array([0, np.inf]).reshape(2, 1, 1)), "not finite"),
    ],
)
def test_what_cannot_be_stored_is_named(image, problem):
    with pytest.raises(InputError, match=f"case: .*{problem}"):
        dicom_series(image, name="case")
