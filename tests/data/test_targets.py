import numpy as np
import pytest
from PIL import Image
from synthetic import oblique_volume, rgb_blob, write_picture, write_volume

from activefreq.data.pairs import Pair
from activefreq.data.targets import read_slices, read_targets
from activefreq.errors import InputError
from activefreq.files.grids import Geometry
from activefreq.files.volume_writing import write_mask
from activefreq.files.volumes import read_geometry


def test_a_picture_is_one_slice_and_its_label_is_taken_pixel_by_pixel(tmp_path):
    image, mask = rgb_blob(0)
    write_picture(tmp_path / "a.png", image)
    write_picture(tmp_path / "mask.png", mask)
    write_mask(tmp_path / "like.nii.gz", mask, like=read_geometry(tmp_path / "a.png"))
    # Programs disagree about the spacing and the axes of pictures: that must not move the label.
    write_volume(
        tmp_path / "other.nrrd",
        mask[None].astype(np.uint8),
        Geometry((1, *mask.shape), (0.35, 0.35, 1.0), (5.0, 0.0, 0.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0)),
    )
    for label in ("mask.png", "like.nii.gz", "other.nrrd"):
        pair = Pair("a", tmp_path / "a.png", tmp_path / label)
        np.testing.assert_array_equal(read_slices(pair), image[None])
        np.testing.assert_array_equal(read_targets(pair, None), mask[None])


def test_a_volume_in_its_own_index_order(tmp_path):
    volume, labels = oblique_volume(0)
    write_volume(tmp_path / "a.nii.gz", volume.array, volume.geometry)
    write_mask(tmp_path / "b.nrrd", labels, like=volume)
    pair = Pair("a", tmp_path / "a.nii.gz", tmp_path / "b.nrrd")
    np.testing.assert_array_equal(read_slices(pair), volume.array)
    np.testing.assert_array_equal(read_targets(pair, None), labels > 0)
    np.testing.assert_array_equal(read_targets(pair, 2), labels == 2)
    np.testing.assert_array_equal(read_targets(pair, [1, 2]), labels > 0)
    assert not read_targets(pair, 7).any()


def test_values_that_a_pair_counts_as_background(tmp_path):
    volume, labels = oblique_volume(0)
    write_volume(tmp_path / "a.nii.gz", volume.array, volume.geometry)
    write_mask(tmp_path / "b.nrrd", labels, like=volume)
    pair = Pair("a", tmp_path / "a.nii.gz", tmp_path / "b.nrrd", background=frozenset({2, 9}))
    assert {1, 2} <= {*np.unique(labels)}
    np.testing.assert_array_equal(read_targets(pair, None), (labels != 0) & (labels != 2))
    # One who names the label means it.
    np.testing.assert_array_equal(read_targets(pair, 2), labels == 2)


def test_a_cropped_label_finds_its_place(tmp_path):
    volume, labels = oblique_volume(0)
    write_volume(tmp_path / "a.nii.gz", volume.array, volume.geometry)
    origin = tuple(volume.geometry.points(np.array([[4, 2, 3]]))[0])
    crop = labels[3:5, 2:, 4:]
    write_volume(
        tmp_path / "b.nrrd", crop, Geometry(crop.shape, volume.geometry.spacing, origin, volume.geometry.direction)
    )
    expected = np.zeros_like(labels)
    expected[3:5, 2:, 4:] = crop
    targets = read_targets(Pair("a", tmp_path / "a.nii.gz", tmp_path / "b.nrrd"), None)
    np.testing.assert_array_equal(targets, expected > 0)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("uint8", "uint8"), ("uint16", "uint16"), ("int16", "float32"), ("int32", "float32"), ("float64", "float32")],
)
def test_types_that_the_session_takes(tmp_path, dtype, expected):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    write_volume(tmp_path / "a.nrrd", array, Geometry(array.shape))
    slices = read_slices(Pair("a", tmp_path / "a.nrrd", tmp_path / "a.nrrd"))
    assert slices.dtype == expected
    np.testing.assert_array_equal(slices, array)


def test_shapes_that_do_not_fit(tmp_path):
    write_picture(tmp_path / "a.png", rgb_blob(0, (30, 40))[0])
    write_picture(tmp_path / "b.png", rgb_blob(0, (30, 41))[1])
    with pytest.raises(InputError, match=r"the label b\.png of 30 x 41 pixels does not fit the image of 30 x 40"):
        read_targets(Pair("a", tmp_path / "a.png", tmp_path / "b.png"), None)
    volume, _ = oblique_volume(0)
    write_volume(tmp_path / "a.nii.gz", volume.array, volume.geometry)
    with pytest.raises(InputError, match=r"b\.png of 30 x 41 pixels does not fit the image of 6 x 24 x 20"):
        read_targets(Pair("a", tmp_path / "a.nii.gz", tmp_path / "b.png"), None)


def pair_of(folder, image, label) -> Pair:
    Image.fromarray(image).save(folder / "a.png")
    Image.fromarray(label).save(folder / "b.png")
    return Pair("a", folder / "a.png", folder / "b.png")


@pytest.mark.parametrize("filter", [Image.Resampling.BILINEAR, Image.Resampling.LANCZOS])
@pytest.mark.parametrize("scale", [0.25, 4])
def test_a_mask_with_soft_borders_is_cut_at_half(tmp_path, filter, scale):
    mask = np.hypot(*(np.mgrid[:160, :200] - 90)) < 50
    small = Image.fromarray(mask.astype(np.uint8) * 255).resize((int(200 * scale), int(160 * scale)), filter)
    soft = np.array(small)
    pair = pair_of(tmp_path, np.zeros(soft.shape, np.uint8), soft)
    np.testing.assert_array_equal(read_targets(pair, None)[0], soft > 127)
    np.testing.assert_array_equal(read_targets(pair, 255)[0], soft == 255)


def test_a_mask_that_was_a_jpeg_once_is_cut_at_half(tmp_path):
    mask = np.hypot(*(np.mgrid[:160, :200] - 90)) < 50
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "a.jpg", quality=75)
    soft = np.array(Image.open(tmp_path / "a.jpg"))
    assert np.count_nonzero(soft) > 1.02 * mask.sum()
    targets = read_targets(pair_of(tmp_path, np.zeros_like(soft), soft), None)[0]
    assert np.logical_xor(targets, mask).sum() < 0.01 * mask.sum()


@pytest.mark.parametrize("count", [3, 40, 254, 255])
def test_label_maps_of_many_objects_are_not_cut(tmp_path, count):
    labels = np.zeros((64, 64), np.uint8)
    labels[2:62, 2:62] = np.sort(np.arange(3600) % count + 1).reshape(60, 60)
    targets = read_targets(pair_of(tmp_path, np.zeros_like(labels), labels), None)
    np.testing.assert_array_equal(targets[0], labels > 0)


def test_an_object_all_around_the_border_may_be_an_inverted_mask(tmp_path):
    _, mask = rgb_blob(0)
    image = np.zeros(mask.shape, np.uint8)
    pair = pair_of(tmp_path, image, np.where(mask, 0, 255).astype(np.uint8))
    with pytest.raises(InputError, match=r"b\.png covers the border all around: is the mask inverted\?"):
        read_targets(pair, None)
    np.testing.assert_array_equal(read_targets(pair, 255)[0], ~mask)
    large = np.full(mask.shape, 255, np.uint8)
    large[0, 5] = 0
    np.testing.assert_array_equal(read_targets(pair_of(tmp_path, image, large), None)[0], large > 0)
    assert not read_targets(pair_of(tmp_path, image, image), None).any()


@pytest.mark.parametrize("orientation", [2, 3, 4])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_picture_as_the_label_of_a_turned_image_is_refused(tmp_path, orientation, suffix):
    image, mask = rgb_blob(0)
    picture = Image.fromarray(image)
    exif = picture.getexif()
    exif[274] = orientation
    picture.save(tmp_path / f"a.{suffix}", exif=exif)
    write_picture(tmp_path / "b.png", mask)
    with pytest.raises(InputError, match=rf"the image a\.{suffix} by its EXIF orientation, and not the label b\.png"):
        read_targets(Pair("a", tmp_path / f"a.{suffix}", tmp_path / "b.png"), None)
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "c.png", exif=exif)
    write_mask(tmp_path / "d.nrrd", mask, like=read_geometry(tmp_path / f"a.{suffix}"))
    for label in ("c.png", "d.nrrd"):
        pair = Pair("a", tmp_path / f"a.{suffix}", tmp_path / label)
        np.testing.assert_array_equal(read_targets(pair, None)[0], mask)


def test_shapes_that_differ_by_an_orientation(tmp_path):
    image, mask = rgb_blob(0, (30, 40))
    picture = Image.fromarray(image)
    exif = picture.getexif()
    exif[274] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    write_picture(tmp_path / "b.png", mask.T)
    with pytest.raises(InputError, match=r"40 x 30 pixels does not fit .* its EXIF orientation, 6, is not applied"):
        read_targets(Pair("a", tmp_path / "a.jpg", tmp_path / "b.png"), None)
