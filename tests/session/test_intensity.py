from __future__ import annotations

import numpy as np
import pytest

from activefreq.errors import InputError
from activefreq.session.intensity import MAX_PIXELS, to_rgb

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (6, 9, 3), np.uint8)
GRAY = RNG.integers(0, 256, (20, 30), np.uint8)


def test_colour_images_of_8_bit_keep_their_values() -> None:
    rgb = to_rgb(COLOUR)
    assert rgb.dtype == np.float32
    np.testing.assert_array_equal(rgb, COLOUR.astype(np.float32) / 255)


def test_colour_floats_within_zero_and_one_keep_their_values() -> None:
    image = RNG.random((6, 9, 3))
    np.testing.assert_array_equal(to_rgb(image), image.astype(np.float32))


def test_other_colour_images_are_stretched_all_channels_alike() -> None:
    image = np.zeros((10, 10, 3), np.uint16)
    image[..., 0] = np.arange(100).reshape(10, 10) * 40
    image[..., 2] = 1000
    rgb = to_rgb(image)
    assert rgb.min() == 0
    assert rgb.max() == 1
    ratio = rgb[5, 5, 0] / rgb[5, 5, 2]
    assert ratio == pytest.approx(image[5, 5, 0] / 1000, rel=1e-5)


def test_gray_images_are_stretched_between_their_percentiles() -> None:
    image = np.arange(1001, dtype=np.float32).reshape(77, 13)
    rgb = to_rgb(image)
    np.testing.assert_allclose(rgb[..., 0], np.clip((image - 10) / 980, 0, 1), atol=1e-6)
    np.testing.assert_array_equal(rgb[..., 0], rgb[..., 1])
    np.testing.assert_array_equal(rgb[..., 0], rgb[..., 2])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int64, np.float16, np.float32, np.float64])
def test_the_type_of_a_gray_image_does_not_matter(dtype: type) -> None:
    np.testing.assert_allclose(to_rgb(GRAY.astype(dtype)), to_rgb(GRAY), atol=1e-6)


def test_the_scale_of_a_gray_image_does_not_matter() -> None:
    np.testing.assert_allclose(to_rgb(GRAY.astype(np.float64) * 1e30 - 5e31), to_rgb(GRAY), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float64])
def test_gray_values_far_from_zero_are_not_merged(dtype: type) -> None:
    np.testing.assert_allclose(to_rgb(GRAY.astype(dtype) + dtype(1_000_000_000)), to_rgb(GRAY), atol=1e-6)
    np.testing.assert_allclose(to_rgb(GRAY.astype(dtype) - dtype(1_000_000_000)), to_rgb(GRAY), atol=1e-6)


def test_values_below_any_that_float32_divides_are_black() -> None:
    image = np.zeros((10, 10), np.float32)
    image[4, 4] = np.float32(1e-45)
    rgb = to_rgb(image)
    assert np.isfinite(rgb).all()
    assert rgb.max() <= 1


def test_gray_is_gray_however_it_is_stored() -> None:
    expected = to_rgb(GRAY)
    np.testing.assert_array_equal(to_rgb(GRAY[..., None]), expected)
    np.testing.assert_array_equal(to_rgb(np.repeat(GRAY[..., None], 3, axis=2)), expected)


def test_bool_images_are_zeros_and_ones() -> None:
    mask = np.zeros((8, 8), bool)
    mask[2:6, 2:6] = True
    np.testing.assert_array_equal(to_rgb(mask)[..., 1], mask.astype(np.float32))


def test_constant_images_are_black_and_sparse_ones_are_not_lost() -> None:
    assert not to_rgb(np.full((5, 7), 1234, np.uint16)).any()
    sparse = np.zeros((50, 50), np.uint16)
    sparse[20, 20] = 900
    rgb = to_rgb(sparse)
    assert rgb[20, 20].tolist() == [1, 1, 1]
    assert rgb.sum() == 3


def test_views_and_foreign_byte_order_are_accepted() -> None:
    np.testing.assert_array_equal(to_rgb(GRAY[::-1, ::2]), to_rgb(GRAY[::-1, ::2].copy()))
    np.testing.assert_array_equal(to_rgb(GRAY.astype(">u2")), to_rgb(GRAY.astype(np.uint16)))


def test_what_has_no_value_is_black_and_takes_no_contrast() -> None:
    known = np.linspace(1000.0, 1100.0, 60 * 40).reshape(60, 40)
    image = np.full((60, 80), np.nan)
    image[:, 40:] = known
    rgb = to_rgb(image)
    assert rgb[:, :40].max() < 0.02
    np.testing.assert_allclose(rgb[:, 40:], to_rgb(known), atol=0.02)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4,)), r"shape .* not \(4,\)"),
        (np.zeros((4, 4, 4)), r"not \(4, 4, 4\)"),
        (np.zeros((2, 4, 4, 3)), r"not \(2, 4, 4, 3\)"),
        (np.zeros((0, 4)), "empty"),
        (np.zeros((4, 0, 3)), "empty"),
        (np.broadcast_to(np.uint8(0), (8001, 8000)), f"larger than {MAX_PIXELS} pixels"),
        (np.array([["a"]]), "numbers"),
        (np.array([[None]]), "numbers"),
        (np.zeros((4, 4), complex), "complex"),
        (np.array([[np.nan, np.nan]]), "the image holds no values but NaN"),
        (np.array([[np.inf, -np.inf]]), "infinite"),
        (np.array([[0.0, 1e300]]), "above 1e\\+37"),
    ],
)
def test_what_is_no_image_is_named(image: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        to_rgb(image)
