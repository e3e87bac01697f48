import numpy as np
import pytest
from synthetic import oblique_volume, rgb_blob, write_picture, write_volume

from activefreq.data.pairs import Pair
from activefreq.data.targets import read_slices, read_targets
from activefreq.errors import InputError
from activefreq.files.volumes import Geometry, read_geometry, write_mask


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
