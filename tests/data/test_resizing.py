import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import rgb_blob

from activefreq.data.resizing import fitted_size, resize_image, resize_mask
from activefreq.errors import InputError


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 1000))
def test_sizes(height, width, size):
    assert fitted_size((height, width), size, "squash") == (size, size)
    inside = fitted_size((height, width), size, "inside")
    assert max(inside) == size
    assert min(inside) >= 1
    assert abs(min(inside) - size * min(height, width) / max(height, width)) <= 1


def test_options_that_cannot_be_meant():
    with pytest.raises(InputError, match="at least 1 pixel, not 0"):
        fitted_size((3, 4), 0, "squash")
    with pytest.raises(InputError, match="unknown fit 'crop': one of squash, inside"):
        fitted_size((3, 4), 8, "crop")


def test_a_mask_is_cut_at_half_of_a_pixels_area():
    mask = np.zeros((4, 6), bool)
    mask[0, 0] = mask[0, 1] = True  # half of the first 2 x 2 block
    mask[2, 2] = True  # a quarter of another
    mask[2:, 4:] = True  # all of the last
    np.testing.assert_array_equal(resize_mask(mask, (2, 3)), [[True, False, False], [False, False, True]])


def test_image_and_mask_stay_on_top_of_each_other():
    image, mask = rgb_blob(1, (120, 160))
    small, small_mask = resize_image(image, (48, 40)), resize_mask(mask, (48, 40))
    assert small.shape == (48, 40, 3)
    assert small_mask.shape == (48, 40)
    assert small_mask.mean() == pytest.approx(mask.mean(), abs=0.01)
    dark = small.mean(axis=2) < (small.mean(axis=2).max() + small.mean(axis=2).min()) / 2
    assert np.logical_xor(dark, small_mask).mean() < 0.03


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_images_of_any_kind_keep_their_dtype_and_range(dtype, channels):
    image = (np.random.default_rng(0).random((20, 30, *channels)) * 250).astype(dtype)
    for shape in ((10, 12), (50, 70)):
        resized = resize_image(image, shape)
        assert resized.shape == (*shape, *channels)
        assert resized.dtype == dtype
        assert resized.mean() == pytest.approx(image.mean(), rel=0.05)
        if dtype != np.uint8:
            assert image.min() <= resized.min() <= resized.max() <= image.max()
