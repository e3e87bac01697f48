import os
import struct

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from geometries import assert_same_geometry
from PIL import Image
from synthetic import OBLIQUE, oblique_volume, rgb_blob, write_volume

from activefreq.errors import InputError
from activefreq.files.dicom import dicom_series, write_dicom
from activefreq.files.grids import Geometry, Volume
from activefreq.files.images import read_image
from activefreq.files.label_resampling import resample_labels
from activefreq.files.volume_writing import write_mask
from activefreq.files.volumes import read_geometry, read_label_volume, read_volume

FORMATS = ["nii", "nii.gz", "nrrd", "nhdr", "mha", "mhd"]


@pytest.mark.parametrize("extension", FORMATS)
def test_voxels_are_in_file_index_order_with_their_geometry(tmp_path, extension):
    volume, _ = oblique_volume(0, (4, 6, 5))
    path = tmp_path / f"a.{extension}"
    write_volume(path, volume.array, volume.geometry)
    result = read_volume(path)
    assert result.array.dtype == np.float32
    np.testing.assert_array_equal(result.array, volume.array)
    assert_same_geometry(result.geometry, volume.geometry)
    assert_same_geometry(read_geometry(path), volume.geometry)


def test_index_order_is_that_of_nibabel_reversed_whatever_the_orientation(tmp_path):
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    sagittal = np.array([[0, 0, -2.0, 7], [-1.5, 0, 0, 8], [0, -1.0, 0, 9], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(array, sagittal), tmp_path / "a.nii.gz")
    result = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(result.array, array.T)
    assert result.geometry.spacing == (1.5, 1.0, 2.0)
    point = result.geometry.points(np.array([[2, 1, 3]]))[0]
    np.testing.assert_allclose(point, np.diag([-1, -1, 1]) @ (sagittal @ [2, 1, 3, 1])[:3])


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("slices", [1, 3])
def test_colour_volumes(tmp_path, extension, slices):
    array = np.random.default_rng(0).integers(0, 256, (slices, 6, 9, 3), np.uint8)
    geometry = Geometry((slices, 6, 9), (0.5, 0.75, 2.5), (10.0, 20.0, 30.0), OBLIQUE)
    path = tmp_path / f"a.{extension}"
    write_volume(path, array, geometry)
    result = read_volume(path)
    np.testing.assert_array_equal(result.array, array)
    assert_same_geometry(result.geometry, geometry)
    if slices == 1:
        np.testing.assert_array_equal(read_image(path), array[0])


def test_one_colour_slice_as_nifti_has_the_shape_that_clients_store(tmp_path):
    write_volume(tmp_path / "a.nii.gz", np.zeros((1, 6, 9, 3), np.uint8), Geometry((1, 6, 9)))
    assert nibabel.load(tmp_path / "a.nii.gz").shape == (9, 6, 1, 1, 3)
    assert read_volume(tmp_path / "a.nii.gz").array.shape == (1, 6, 9, 3)


def test_alpha_is_dropped(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (2, 6, 9, 4), np.uint8)
    write_volume(tmp_path / "a.nrrd", array, Geometry((2, 6, 9)))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nrrd").array, array[..., :3])


def test_the_rgb_type_of_nifti_is_colour(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 3), np.uint8)
    pixels = array.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii").array, array.transpose(2, 1, 0, 3))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_nifti_voxels_and_their_scaling_are_those_of_itk(tmp_path, dtype):
    image = nibabel.Nifti1Image(np.arange(60).reshape(3, 4, 5).astype(dtype), np.eye(4))
    image.header.set_slope_inter(1.0 if dtype == np.float64 else 0.5, 3.0)
    nibabel.save(image, tmp_path / "a.nii.gz")
    itk = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.nii.gz")))
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii.gz").array, itk, rtol=1e-6)


def test_a_trailing_dimension_of_one_is_no_fourth(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 4, 5, 1), np.uint8), np.eye(4)), tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").array.shape == (5, 4, 3)


def write_series(folder, array, name="scan"):
    volume = Volume(array, Geometry(array.shape[:3], (0.7, 0.7, 3.0), (1.0, 2.0, 3.0)))
    series = dicom_series(volume, name=name)
    write_dicom(series, folder)
    return series.series_uid


def test_dicom_series_folder(tmp_path):
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    write_series(tmp_path / "series", array)
    result = read_volume(tmp_path / "series")
    np.testing.assert_array_equal(result.array, array)
    assert_same_geometry(result.geometry, Geometry((3, 4, 5), (0.7, 0.7, 3.0), (1.0, 2.0, 3.0)))
    assert_same_geometry(read_geometry(tmp_path / "series"), result.geometry)


def test_a_folder_of_several_series_needs_a_name(tmp_path):
    first = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    for number in range(2):
        write_series(tmp_path / f"part{number}", first + number, f"scan{number}")
    both = tmp_path / "both"
    both.mkdir()
    for number in range(2):
        for file in (tmp_path / f"part{number}").rglob("*.dcm"):
            file.rename(both / f"{number}-{file.name}")
    with pytest.raises(InputError, match="both: holds 2 DICOM series, name one of"):
        read_volume(both)
    uid = write_series(tmp_path / "again", first + 1, "scan1")
    np.testing.assert_array_equal(read_volume(both, series=uid).array, first + 1)
    with pytest.raises(InputError, match=r"holds no DICOM series 1\.2\.3"):
        read_volume(both, series="1.2.3")


def test_a_folder_without_dicom(tmp_path):
    with pytest.raises(InputError, match="holds no DICOM series"):
        read_volume(tmp_path)


def test_a_picture_is_one_slice_with_the_spacing_that_itk_sees(tmp_path):
    image, _ = rgb_blob(0)
    Image.fromarray(image).save(tmp_path / "a.jpg", dpi=(72, 72))
    result = read_volume(tmp_path / "a.jpg")
    assert result.array.shape == (1, 48, 64, 3)
    itk = sitk.ReadImage(str(tmp_path / "a.jpg"))
    assert result.geometry.spacing == (*itk.GetSpacing(), 1.0)
    assert result.geometry.spacing[0] == pytest.approx(0.3528, abs=1e-4)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((3, 4, 5, 2), np.uint8), "has 4 dimensions"),
        (np.zeros((3, 4, 5), np.complex64), "complex"),
        (np.full((3, 4, 5), np.nan, np.float32), "no values but NaN or infinite"),
        (np.full((3, 4, 5), np.inf, np.float32), "no values but NaN or infinite"),
    ],
)
def test_unusable_voxels(tmp_path, array, reason):
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=rf"a\.nii\.gz: .*{reason}"):
        read_volume(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha", "a.tif"])
def test_what_has_no_value_in_an_image_is_dark_and_in_a_label_refused(tmp_path, name):
    rng = np.random.default_rng(0)
    stored = rng.normal(1000.0, 50.0, (1, 40, 50)).astype(np.float32)
    stored[:, :, :10] = np.nan
    stored[0, 0, 20:22] = -np.inf, np.inf
    sitk.WriteImage(sitk.GetImageFromArray(stored[0] if name == "a.tif" else stored), str(tmp_path / name))
    there = stored[np.isfinite(stored)]
    expected = stored.copy()
    expected[:, :, :10] = np.percentile(there, 1.0)
    expected[0, 0, 20:22] = there.min(), there.max()
    read = read_volume(tmp_path / name).array
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, expected)
    with pytest.raises(InputError, match=rf"{name}: is no label map, it holds NaN or infinite values"):
        read_label_volume(tmp_path / name)


def test_unusable_files(tmp_path):
    with pytest.raises(InputError, match=r"none\.nii\.gz: no such file"):
        read_volume(tmp_path / "none.nii.gz")
    sheared = np.eye(4)
    sheared[0, 1] = 0.4
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 4, 5), np.uint8), sheared), tmp_path / "sheared.nii")
    with pytest.raises(InputError, match=r"sheared\.nii: .*orthonormal"):
        read_volume(tmp_path / "sheared.nii")
    write_volume(tmp_path / "vector.nrrd", np.zeros((2, 3, 4, 2), np.float32), Geometry((2, 3, 4)))
    with pytest.raises(InputError, match=r"vector\.nrrd: has 2 values a voxel"):
        read_volume(tmp_path / "vector.nrrd")


@pytest.mark.parametrize("extension", ["nii", "nii.gz", "nrrd", "mha"])
def test_a_truncated_volume_is_refused(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    array = np.random.default_rng(0).integers(0, 255, (20, 30, 30), np.uint8)
    write_volume(path, array, Geometry(array.shape))
    whole = path.read_bytes()
    for share in (0.005, 0.5, 0.95):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match=path.name):
            read_volume(path)


def test_the_limit_is_checked_by_the_header(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_shape((20000, 20000, 30000))
    header.set_data_dtype(np.uint8)
    (tmp_path / "huge.nii").write_bytes(header.binaryblock + b"\0" * 100)
    with pytest.raises(InputError, match=r"huge\.nii: its 12000000000000 voxels are more than the limit"):
        read_volume(tmp_path / "huge.nii")


@pytest.mark.parametrize("shape", [(4, 5, 3, 1, 1), (4, 5, 3, 1)])
def test_more_trailing_dimensions_of_one_are_no_colour(tmp_path, shape):
    array = np.arange(60, dtype=np.int16).reshape(shape, order="F")
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").array, array.reshape(4, 5, 3).T)


def test_a_series_with_a_slice_missing_is_refused(tmp_path):
    write_series(tmp_path, np.random.default_rng(0).integers(0, 9, (6, 5, 4)).astype(np.int16))
    (tmp_path / "0002.dcm").unlink()
    with pytest.raises(InputError, match="mm away from where it should be: is one missing"):
        read_volume(tmp_path)


def test_slices_of_a_series_keep_their_values_however_each_is_scaled(tmp_path):
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    write_series(tmp_path, array)
    expected = array.astype(np.float64)
    for number, (slope, intercept) in {1: (0.5, 10.25), 2: (2000.0, 7.0)}.items():
        path = tmp_path / f"{number + 1:04d}.dcm"
        dataset = pydicom.dcmread(path)
        stored = (array[number] - float(dataset.RescaleIntercept)) / float(dataset.RescaleSlope)
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
        dataset.save_as(path)
        expected[number] = stored * slope + intercept
    assert expected.max() > np.iinfo(np.int16).max
    np.testing.assert_allclose(read_volume(tmp_path).array, expected, rtol=1e-6)


def itk_grid(path) -> Geometry:
    """As ITK's file reader, and so Slicer, has it; of a 2D image as one slice."""
    image = sitk.ReadImage(str(path))
    if image.GetDimension() == 2:
        image = sitk.JoinSeries(image)
    return Geometry(image.GetSize()[::-1], image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def flat_nifti(path, array, affine, *, sform, qform) -> None:
    image = nibabel.Nifti1Image(array, affine)
    image.header["pixdim"][1:3] = (0.5, 0.75)
    if affine is not None:
        image.set_sform(affine, sform)
        image.set_qform(affine, qform)
    nibabel.save(image, path)
    header = nibabel.load(path).header
    assert (header["sform_code"], header["qform_code"], header["dim"][0]) == (sform, qform, 2)


IN_PLANE = np.array([[0.0, -0.75, 0, 5], [0.5, 0, 0, 6], [0, 0, 1, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize(("affine", "sform", "qform"), [(None, 0, 0), (IN_PLANE, 1, 0), (IN_PLANE, 0, 1)])
@pytest.mark.parametrize("colour", [False, True])
def test_a_flat_nifti_lies_where_itk_sees_it(tmp_path, affine, sform, qform, colour):
    """Without codes too, where nibabel has an affine of its own."""
    array = np.arange(48, dtype=np.uint8).reshape(6, 8)
    if colour:
        array = np.repeat(array[..., None], 3, axis=-1).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    flat_nifti(tmp_path / "a.nii.gz", array, affine, sform=sform, qform=qform)
    volume = read_volume(tmp_path / "a.nii.gz")
    assert volume.array.shape == ((1, 8, 6, 3) if colour else (1, 8, 6))
    assert_same_geometry(volume.geometry, itk_grid(tmp_path / "a.nii.gz"))
    assert_same_geometry(read_geometry(tmp_path / "a.nii.gz"), volume.geometry)
    assert len(set(volume.geometry.spacing[:2])) == 2


def test_a_flat_nifti_without_codes_lies_as_the_same_file_of_one_slice(tmp_path):
    array = np.arange(48, dtype=np.uint8).reshape(6, 8)
    nibabel.save(nibabel.Nifti1Image(array, None), tmp_path / "flat.nii")
    nibabel.save(nibabel.Nifti1Image(array[..., None], None), tmp_path / "slice.nii")
    assert_same_geometry(read_geometry(tmp_path / "flat.nii"), read_geometry(tmp_path / "slice.nii"))


def test_a_label_drawn_on_a_flat_nifti_without_codes_stays_in_its_place(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((6, 8), np.uint8), None), tmp_path / "a.nii.gz")
    labels = np.zeros((1, 8, 6), np.uint8)
    labels[0, 1:4, 1:3] = 1
    drawn = sitk.GetImageFromArray(labels)
    drawn.CopyInformation(sitk.JoinSeries(sitk.ReadImage(str(tmp_path / "a.nii.gz"))))
    sitk.WriteImage(drawn, str(tmp_path / "label.nrrd"))
    moved = resample_labels(read_label_volume(tmp_path / "label.nrrd"), read_geometry(tmp_path / "a.nii.gz"))
    np.testing.assert_array_equal(moved.array, labels)


def negative_spacing(path) -> None:
    voxels = bytes(range(24))
    if path.suffix == ".mha":
        header = b"ObjectType = Image\nNDims = 3\nElementSpacing = 1 -0.5 2\nOffset = 4 5 6\nDimSize = 4 3 2\n"
        path.write_bytes(header + b"ElementType = MET_UCHAR\nElementDataFile = LOCAL\n" + voxels)
    elif path.suffix == ".nrrd":
        header = b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nencoding: raw\nspacings: 1 -0.5 2\n\n"
        path.write_bytes(header + voxels)
    else:
        header = nibabel.Nifti1Image(np.frombuffer(voxels, np.uint8).reshape(4, 3, 2), None).header
        header["pixdim"][1:4] = (1, -0.5, 2)
        header["magic"], header["vox_offset"] = b"n+1", 352
        path.write_bytes(header.binaryblock + bytes(4) + voxels)


@pytest.mark.parametrize("suffix", [".nii", ".mha", ".nrrd"])
def test_an_axis_of_negative_spacing_runs_the_other_way(tmp_path, suffix):
    """As ITK has it where it reads the voxels too; of a header alone it keeps the sign, which no image may have."""
    path = tmp_path / f"a{suffix}"
    negative_spacing(path)
    volume = read_volume(path)
    assert volume.geometry.spacing == (1.0, 0.5, 2.0)
    assert volume.geometry.direction == (1, 0, 0, 0, -1, 0, 0, 0, 1)
    assert_same_geometry(volume.geometry, itk_grid(path))
    assert_same_geometry(read_geometry(path), volume.geometry)
    np.testing.assert_array_equal(volume.array.ravel(), np.arange(24))
    mask = volume.array > 7
    for written in ("mask.nrrd", "mask.nii.gz"):
        write_mask(tmp_path / written, mask, like=volume)
        back = read_label_volume(tmp_path / written)
        np.testing.assert_array_equal(back.array, mask)
        assert_same_geometry(back.geometry, volume.geometry)


@pytest.mark.parametrize(
    ("suffix", "header"),
    [
        (
            ".mha",
            "ObjectType = Image\nNDims = 3\n{}\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n",
        ),
        (".nrrd", "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 2\nencoding: raw\n{}\n\n"),
    ],
)
def test_a_header_without_a_grid_is_refused(tmp_path, suffix, header):
    broken = {
        ".mha": ["ElementSpacing = 0 1 1", "TransformMatrix = 1 0 0 1 0 0 0 0 1"],
        ".nrrd": [
            "space: left-posterior-superior\nspace directions: (1,0,0) (1,0,0) (0,0,1)\nspace origin: (0,0,0)",
            "space: left-posterior-superior\nspace directions: (1,0,0) (0,0,0) (0,0,1)\nspace origin: (0,0,0)",
        ],
    }
    for field in broken[suffix]:
        (tmp_path / f"a{suffix}").write_bytes(header.format(field).encode() + bytes(8))
        with pytest.raises(InputError, match="its header gives no grid in space"):
            read_geometry(tmp_path / f"a{suffix}")
        with pytest.raises(InputError, match=r"a\.(mha|nrrd): "):
            read_volume(tmp_path / f"a{suffix}")


FOREIGN = os.fsdecode(b"caf\xe9")
"""A name in Latin-1, at which ITK ends the process."""


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".png", ".dcm"])
def test_a_name_that_is_not_utf8_is_refused(tmp_path, suffix):
    path = tmp_path / (FOREIGN + suffix)
    path.write_bytes(bytes(400))
    for read in (read_volume, read_label_volume, read_geometry):
        with pytest.raises(InputError, match=r"caf\\udce9.*: the name is not UTF-8") as caught:
            read(path)
        str(caught.value).encode()
    path.unlink()
    with pytest.raises(InputError, match="is not UTF-8"):
        write_mask(path, np.zeros((1, 4, 5), bool), like=Geometry((1, 4, 5)))
    assert list(tmp_path.iterdir()) == []


def test_a_series_in_a_folder_or_of_files_of_such_names_is_refused(tmp_path):
    write_series(tmp_path / FOREIGN, np.zeros((3, 4, 5), np.int16))
    with pytest.raises(InputError, match="is not UTF-8"):
        read_volume(tmp_path / FOREIGN)
    write_series(tmp_path / "scan", np.zeros((3, 4, 5), np.int16))
    (tmp_path / "scan" / "0002.dcm").rename(tmp_path / "scan" / f"{FOREIGN}.dcm")
    with pytest.raises(InputError, match=r"caf\\udce9\.dcm.*is not UTF-8"):
        read_volume(tmp_path / "scan")


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("damage", [b"", bytes(900), None])
def test_a_damaged_slice_at_an_end_of_a_series_is_missed(tmp_path, number, damage):
    write_series(tmp_path, np.zeros((3, 40, 50), np.int16))
    path = tmp_path / f"000{number}.dcm"
    path.write_bytes(path.read_bytes()[:300] if damage is None else damage)
    with pytest.raises(InputError, match=rf"000{number}\.dcm: cannot be read"):
        read_volume(tmp_path)


def test_files_beside_a_series_that_are_no_slices(tmp_path):
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    write_series(tmp_path, array)
    report = pydicom.dcmread(tmp_path / "0001.dcm")
    for tag in ("PixelData", "Rows", "Columns"):
        delattr(report, tag)
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = pydicom.uid.BasicTextSRStorage
    report.save_as(tmp_path / "report.dcm")
    (tmp_path / ".0004.dcm").write_bytes(b"hidden")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "readme.txt").write_text("slices")
    np.testing.assert_array_equal(read_volume(tmp_path).array, array)


def test_labels_that_a_nifti_stores_with_a_scale_are_whole(tmp_path):
    labels = np.arange(60).reshape(3, 4, 5) % 4
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    nibabel.save(nibabel.Nifti1Image(labels.astype(np.float64), np.eye(4), header), tmp_path / "a.nii.gz")
    assert nibabel.load(tmp_path / "a.nii.gz").dataobj.slope != 1.0
    np.testing.assert_array_equal(read_label_volume(tmp_path / "a.nii.gz").array, labels.T)
    nibabel.save(nibabel.Nifti1Image(labels + 0.0123456, np.eye(4)), tmp_path / "b.nii")
    with pytest.raises(InputError, match=r"fractions such as 0\.0123456"):
        read_label_volume(tmp_path / "b.nii")


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, -1024.0), (0.1, 3.0)])
def test_scaled_short_integers_take_four_bytes(tmp_path, slope, intercept):
    stored = np.arange(-32768, 32768, dtype=np.int16).reshape(64, 64, 16)
    nibabel.save(nibabel.Nifti1Image(stored, np.eye(4)), tmp_path / "stored.nii")
    content = bytearray((tmp_path / "stored.nii").read_bytes())
    content[112:120] = struct.pack("<ff", slope, intercept)  # scl_slope and scl_inter
    (tmp_path / "stored.nii").write_bytes(content)
    found = read_volume(tmp_path / "stored.nii").array
    assert found.dtype == np.float32
    expected = (stored.astype(np.float64) * slope + intercept).transpose(2, 1, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)
    assert len(np.unique(found)) == 65536
