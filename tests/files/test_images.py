import shutil
import struct
import zlib

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset

from activefreq.errors import InputError
from activefreq.files.images import image_shape, read_image, read_labels

GREY = np.arange(54, dtype=np.uint8).reshape(6, 9)
RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def palette_picture() -> Image.Image:
    picture = Image.fromarray(GREY % 3, "L").convert("P")
    picture.putdata((GREY % 3).ravel().tolist())
    picture.putpalette([0, 0, 0, 200, 10, 20, 30, 220, 40])
    return picture


def write_dicom(path, array, photometric="MONOCHROME2", **tags):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.Modality = "1.2", "1.2.3", "OT"
    frames, (dataset.Rows, dataset.Columns) = array.shape[:-2], array.shape[-2:]
    if photometric == "RGB":
        frames, (dataset.Rows, dataset.Columns) = (), array.shape[:2]
        dataset.PlanarConfiguration = 0
    if frames:
        dataset.NumberOfFrames = frames[0]
    dataset.SamplesPerPixel = 3 if photometric == "RGB" else 1
    dataset.PhotometricInterpretation = photometric
    bits = 8 * array.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits, bits - 1, 0
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    dataset.PixelData = array.tobytes()
    dataset.is_little_endian, dataset.is_implicit_VR = True, False
    dataset.save_as(path)


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.tif", "a.TIFF", "a.bmp"])
@pytest.mark.parametrize("array", [GREY, RGB], ids=["grey", "rgb"])
def test_lossless_pictures_come_back_exactly(tmp_path, name, array):
    Image.fromarray(array).save(tmp_path / name)
    result = read_image(tmp_path / name)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, array)
    assert image_shape(tmp_path / name) == (6, 9)


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.JPG", "a.JPEG"])
def test_jpeg_is_rows_first(tmp_path, name):
    array = np.zeros((40, 60, 3), np.uint8)
    array[:20, :, 0] = 250
    Image.fromarray(array).save(tmp_path / name, quality=95)
    result = read_image(tmp_path / name)
    assert result.shape == (40, 60, 3)
    assert result[5, 55, 0] > 200 > 50 > result[35, 5, 0]


@given(array=npst.arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_16_bit_grey_keeps_every_value(tmp_path_factory, array):
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("a.png", "a.tif"):
        Image.fromarray(array).save(folder / name)
        result = read_image(folder / name)
        assert result.dtype == np.uint16
        assert result.dtype.isnative
        np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_colour_keeps_every_value(tmp_path, name):
    array = RGB.astype(np.uint16) * 250 + 3
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(tmp_path / name))
    np.testing.assert_array_equal(read_image(tmp_path / name), array)


def test_float_tiff(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(np.float32) / 7)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), GREY.astype(np.float32) / 7)


def test_alpha_is_dropped(tmp_path):
    Image.fromarray(np.dstack([RGB, GREY])).save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(read_image(tmp_path / "rgba.png"), RGB)
    Image.fromarray(np.dstack([GREY, GREY + 1])).save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_image(tmp_path / "la.png"), GREY)


def test_black_and_white_is_0_and_255(tmp_path):
    for name in ("a.png", "a.tif", "a.bmp"):
        Image.fromarray(GREY > 20).save(tmp_path / name)
        np.testing.assert_array_equal(read_image(tmp_path / name), np.where(GREY > 20, 255, 0))


def test_palette_gives_colours_as_an_image_and_indices_as_labels(tmp_path):
    for name in ("a.png", "a.bmp", "a.tif"):
        palette_picture().save(tmp_path / name)
        colours = np.array([[0, 0, 0], [200, 10, 20], [30, 220, 40]], np.uint8)
        np.testing.assert_array_equal(read_image(tmp_path / name), colours[GREY % 3])
        np.testing.assert_array_equal(read_labels(tmp_path / name), GREY % 3)


def test_cmyk_becomes_rgb(tmp_path):
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg").shape == (6, 9, 3)


def test_pixels_come_as_stored_whatever_exif_says_as_in_itk(tmp_path):
    picture = Image.fromarray(RGB)
    exif = picture.getexif()
    exif[274] = 6
    for name in ("a.jpg", "a.png"):
        picture.save(tmp_path / name, exif=exif)
        assert read_image(tmp_path / name).shape == (6, 9, 3)
        assert sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name))).shape == (6, 9, 3)
        assert image_shape(tmp_path / name) == (6, 9)


def test_a_turned_tiff_is_refused(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.tif", tiffinfo={274: 6})
    with pytest.raises(InputError, match=r"a\.tif: is a turned or mirrored TIFF"):
        read_image(tmp_path / "a.tif")


def test_dicom_grey_with_rescaling(tmp_path):
    write_dicom(tmp_path / "a.dcm", GREY.astype(np.uint16), RescaleSlope="2", RescaleIntercept="-1000")
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm"), GREY.astype(int) * 2 - 1000)
    assert image_shape(tmp_path / "a.dcm") == (6, 9)


def test_dicom_without_extension(tmp_path):
    write_dicom(tmp_path / "IM-0001", GREY)
    np.testing.assert_array_equal(read_image(tmp_path / "IM-0001"), GREY)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_dicom_monochrome1_is_inverted(tmp_path, dtype):
    write_dicom(tmp_path / "a.dcm", GREY.astype(dtype), "MONOCHROME1")
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm"), np.iinfo(dtype).max - GREY.astype(dtype))


def test_dicom_rgb(tmp_path):
    array = np.concatenate([RGB, RGB[:, :1]], axis=1)
    write_dicom(tmp_path / "a.dcm", array, "RGB")
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm"), array)


def test_several_frames_are_refused(tmp_path):
    write_dicom(tmp_path / "a.dcm", np.stack([GREY] * 4))
    with pytest.raises(InputError, match=r"a\.dcm: is a volume of 4 slices"):
        read_image(tmp_path / "a.dcm")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 6, 9), np.uint8), photometric="minisblack")
    with pytest.raises(InputError, match=r"a\.tif: holds 5 pictures"):
        read_image(tmp_path / "a.tif")


def test_a_wrong_extension_of_another_picture_format_does_not_matter(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), GREY)


def test_the_limit_is_checked_before_decoding(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(InputError, match=r"a\.png: its 9 x 6 pixels are more than the limit of 50"):
        read_image(tmp_path / "a.png", max_pixels=50)
    write_dicom(tmp_path / "a.dcm", GREY)
    with pytest.raises(InputError, match=r"a\.dcm: its 54 voxels are more than the limit of 53"):
        read_image(tmp_path / "a.dcm", max_pixels=53)


def test_what_cannot_be_read_is_named_with_the_reason(tmp_path):
    with pytest.raises(InputError, match=r"none\.png: no such file"):
        read_image(tmp_path / "none.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="is not a file"):
        read_image(tmp_path / "folder.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(InputError, match=r"empty\.png: the file is empty"):
        read_image(tmp_path / "empty.png")
    for name in ("text.png", "text.dcm", "text.nii.gz", "text.xyz"):
        (tmp_path / name).write_text("no image at all")
        with pytest.raises(InputError, match=name):
            read_image(tmp_path / name)
    tifffile.imwrite(tmp_path / "nan.tif", np.full((3, 4), np.nan, np.float32))
    with pytest.raises(InputError, match=r"nan\.tif: holds no values but NaN"):
        read_image(tmp_path / "nan.tif")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.tif"])
def test_a_truncated_picture_is_refused(tmp_path, name):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for share in (0.1, 0.5, 0.9):
        (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match=name):
            read_image(tmp_path / name)


def test_labels_of_a_jpeg_are_cut_at_half(tmp_path):
    mask = np.hypot(*(np.mgrid[:40, :40] - 20)) < 11
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "a.jpg", quality=60)
    labels = read_labels(tmp_path / "a.jpg")
    assert set(np.unique(labels)) == {0, 255}
    assert np.logical_xor(labels > 0, mask).sum() <= 8
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "empty.jpg")
    assert not read_labels(tmp_path / "empty.jpg").any()


def test_labels_stored_as_rgb_must_be_grey(tmp_path):
    Image.fromarray(np.dstack([GREY] * 3)).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "grey.png"), GREY)
    Image.fromarray(RGB).save(tmp_path / "colour.png")
    with pytest.raises(InputError, match=r"colour\.png: is no label map, it is a colour picture"):
        read_labels(tmp_path / "colour.png")


def test_labels_must_be_whole_numbers(tmp_path):
    tifffile.imwrite(tmp_path / "whole.tif", GREY.astype(np.float32))
    assert read_labels(tmp_path / "whole.tif").dtype.kind == "i"
    nibabel.save(nibabel.Nifti1Image(np.full((4, 3, 1), 0.25, np.float32), np.eye(4)), tmp_path / "soft.nii")
    with pytest.raises(InputError, match=r"soft\.nii: is no label map, it holds fractions such as 0\.25"):
        read_labels(tmp_path / "soft.nii")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp"])
def test_no_other_format_is_tried_for_a_picture(tmp_path, name):
    """Pillow has Ghostscript run what is in an EPS."""
    (tmp_path / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n%%EndComments\nshowpage\n")
    for read in (read_image, read_labels, image_shape):
        with pytest.raises(InputError, match="is no picture"):
            read(tmp_path / name)


MASK = np.hypot(*(np.mgrid[:12, :17] - 6)) < 4


def with_palette(path, indices, palette) -> None:
    picture = Image.new("P", indices.shape[::-1])
    picture.putpalette(palette)
    picture.putdata(indices.ravel().tolist())
    picture.save(path)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_a_palette_of_greys_from_white_to_black_gives_the_greys(tmp_path, name):
    with_palette(tmp_path / name, 1 - MASK, [255, 255, 255, 0, 0, 0])
    np.testing.assert_array_equal(read_labels(tmp_path / name), np.where(MASK, 255, 0))
    # All black: no index of white is in it.
    with_palette(tmp_path / name, np.ones_like(MASK, int), [255, 255, 255, 0, 0, 0])
    assert not read_labels(tmp_path / name).any()
    with_palette(tmp_path / name, MASK * 2, [5, 5, 5, 90, 90, 90, 255, 255, 255])
    np.testing.assert_array_equal(read_labels(tmp_path / name), MASK * 2)
    with_palette(tmp_path / name, MASK * 1, [255, 255, 255, 90, 90, 90])
    with pytest.raises(InputError, match="palette picture of greys without black"):
        read_labels(tmp_path / name)


def test_a_quantized_mask_is_no_inverted_one(tmp_path):
    Image.fromarray(MASK.astype(np.uint8) * 255).quantize(2).save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").getpalette()[:3] == [255, 255, 255]
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png") > 0, MASK)


def test_a_bitmap_of_1_bit_whose_first_colour_is_white(tmp_path):
    Image.fromarray(~MASK).save(tmp_path / "a.bmp")
    data = bytearray((tmp_path / "a.bmp").read_bytes())
    data[54:62] = data[58:62] + data[54:58]
    (tmp_path / "a.bmp").write_bytes(data)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.bmp"), np.where(MASK, 255, 0))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_whose_0_is_white_is_inverted_as_an_image_and_refused_as_a_label(tmp_path, dtype):
    array = GREY.astype(dtype) * 3
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.iinfo(dtype).max - array)
    with pytest.raises(InputError, match=r"a\.tif: is a TIFF whose 0 is white"):
        read_labels(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", array.astype(np.float32), photometric="miniswhite")
    with pytest.raises(InputError, match="whose 0 is white, which cannot be read"):
        read_image(tmp_path / "a.tif")


def test_a_mask_of_1_bit_whose_0_is_white(tmp_path):
    """By the rule white is 1; tifffile, which scikit-image and imageio use, calls True black."""
    tifffile.imwrite(tmp_path / "python.tif", MASK)
    tifffile.imwrite(tmp_path / "scanner.tif", ~MASK, software="scanner")
    for name in ("python.tif", "scanner.tif"):
        assert Image.open(tmp_path / name).tag_v2[262] == 0
        np.testing.assert_array_equal(read_labels(tmp_path / name), np.where(MASK, 255, 0))
    Image.fromarray(MASK).save(tmp_path / "pillow.tif")
    np.testing.assert_array_equal(read_labels(tmp_path / "pillow.tif"), np.where(MASK, 255, 0))


def test_tiff_integers_that_pillow_reads_as_others(tmp_path):
    large = GREY.astype(np.uint32) * 70_000_000
    tifffile.imwrite(tmp_path / "a.tif", large)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), large)
    for dtype in (np.int8, np.int16, np.int32):
        tifffile.imwrite(tmp_path / "a.tif", GREY.astype(dtype) - 20)
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), GREY.astype(int) - 20)


def test_deep_colours_in_planes_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(RGB, -1, 0).astype(np.uint16) * 9, photometric="rgb")
    with pytest.raises(InputError, match=r"a\.tif: is a TIFF of 16 bits with a plane for each colour"):
        read_image(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(RGB, -1, 0), photometric="rgb")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), RGB)


def test_alpha_of_16_bits_is_dropped(tmp_path):
    grey = GREY.astype(np.uint16) * 1000 + 7
    rows = np.stack([grey, np.full_like(grey, 65535)], axis=-1).astype(">u2")
    lines = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", 9, 6, 16, 4, 0, 0, 0)
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", lines), (b"IEND", b""))
    ]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    result = read_image(tmp_path / "a.png")
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result, grey)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), grey)


def test_a_jpeg_of_noise_is_an_empty_mask(tmp_path):
    noise = np.full((16, 16), 3, np.uint8)
    noise[3, 3] = 20
    Image.fromarray(noise).save(tmp_path / "a.jpg", quality=95)
    assert np.array(Image.open(tmp_path / "a.jpg")).any()
    assert not read_labels(tmp_path / "a.jpg").any()
