import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import oblique_volume

from activefreq.errors import InputError
from activefreq.files.grids import Geometry, Volume
from activefreq.files.label_resampling import resample_labels
from activefreq.files.volumes import read_label_volume


def test_labels_on_the_same_grid_are_left_alone_despite_rounded_headers():
    volume, labels = oblique_volume(2)
    near = Geometry(
        volume.geometry.shape,
        tuple(np.float32(volume.geometry.spacing).tolist()),
        tuple(value + 1e-3 for value in volume.geometry.origin),
        tuple(np.float32(volume.geometry.direction).tolist()),
    )
    result = resample_labels(Volume(labels, near), volume.geometry)
    assert result.array is labels
    assert result.geometry == volume.geometry


@settings(max_examples=25)
@given(
    flips=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    order=st.permutations([0, 1, 2]),
)
def test_labels_in_another_orientation_of_the_same_voxels_find_their_voxels(flips, order):
    volume, labels = oblique_volume(2)
    source = volume.geometry.apply_to(sitk.GetImageFromArray(labels))
    turned = sitk.Flip(sitk.PermuteAxes(source, order), flips)
    moved = Volume(
        sitk.GetArrayFromImage(turned),
        Geometry(turned.GetSize()[::-1], turned.GetSpacing(), turned.GetOrigin(), turned.GetDirection()),
    )
    np.testing.assert_array_equal(resample_labels(moved, volume.geometry).array, labels)


def test_cropped_labels_are_put_back_where_they_were():
    volume, labels = oblique_volume(2)
    part = labels[2:4, 5:20, 3:18]
    origin = tuple(volume.geometry.points(np.array([[3, 5, 2]]))[0])
    cropped = Geometry(part.shape, volume.geometry.spacing, origin, volume.geometry.direction)
    result = resample_labels(Volume(part, cropped), volume.geometry)
    expected = np.zeros_like(labels)
    expected[2:4, 5:20, 3:18] = part
    np.testing.assert_array_equal(result.array, expected)


def test_labels_elsewhere_in_space_are_an_error_but_empty_ones_are_not():
    volume, labels = oblique_volume(2)
    far = Geometry(volume.geometry.shape, volume.geometry.spacing, (1e4, 0.0, 0.0), volume.geometry.direction)
    with pytest.raises(InputError, match="outside the image"):
        resample_labels(Volume(labels, far), volume.geometry)
    assert not resample_labels(Volume(np.zeros_like(labels), far), volume.geometry).array.any()


def test_labels_of_the_other_byte_order_are_resampled(tmp_path):
    array = np.zeros((6, 5, 4), ">i2")
    array[1, 2, 3] = 7
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nibabel.save(nibabel.Nifti1Image(array, np.diag([-1, -1, 1, 1]), header), tmp_path / "a.nii")
    labels = read_label_volume(tmp_path / "a.nii")
    flipped = Geometry((4, 5, 6), (1.0, 1.0, 1.0), (5.0, 0.0, 0.0), (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    assert np.argwhere(resample_labels(labels, flipped).array == 7).tolist() == [[3, 2, 4]]


def scan_and_label(spacing, origin, label_spacing, label_origin, label_shape=(8, 20, 20)) -> tuple[Volume, Geometry]:
    array = np.zeros(label_shape, np.uint8)
    array[2:6, 8:18, 8:18] = 1
    return Volume(array, Geometry(label_shape, label_spacing, label_origin)), Geometry((8, 20, 20), spacing, origin)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (((0.7, 0.7, 3.0), (5.0, 6, 7), (1.0, 1, 1), (0.0, 0, 0)), "one of the two has lost its geometry"),
        (((1.0, 1, 1), (0.0, 0, 0), (0.7, 0.7, 3.0), (5.0, 6, 7)), "one of the two has lost its geometry"),
        (((0.7, 0.7, 3.0), (0.0, 0, 0), (0.7, 0.7, 3.0), (2.1, 0, 0)), r"10\.0% of the labels lie outside the image"),
        (((1.0, 1, 3), (9.0, 9, 0), (1.0, 1, 3), (12.0, 9, 0), (8, 20, 19)), r"10\.0% of the labels lie outside"),
    ],
)
def test_labels_that_would_be_cut_or_lie_at_a_place_made_up_are_refused(case, reason):
    labels, onto = scan_and_label(*case)
    with pytest.raises(InputError, match=reason):
        resample_labels(labels, onto)


def test_a_coarse_label_map_may_reach_over_the_border_of_its_image():
    array = np.ones((4, 5, 5), np.uint8)
    # Voxels twice as large: the centres of the last ones are beyond those of the image's, the voxels are not.
    labels = Volume(array, Geometry(array.shape, (2.0, 2.0, 2.0), (1.0, 1.0, 1.0)))
    assert resample_labels(labels, Geometry((8, 9, 9), (1.0, 1.0, 1.0), (0.5, 0.5, 0.5))).array.all()
