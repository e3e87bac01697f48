from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from activefreq.acselect.clicker import standard_click
from activefreq.clicks import Click
from activefreq.session import InteractiveSegmenter, prepare_image
from activefreq.session.hounsfield import BONE, LUNG, SOFT_TISSUE, is_hounsfield, window_at
from activefreq.session.intensity import to_rgb


def abdomen(seed: int, *, contrast: float = -50.0, noise: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    """A slice of an abdomen (512, 512) int16 in Hounsfield units, and the lesion in its liver."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:512, :512]

    def ellipse(row: float, column: float, height: float, width: float) -> np.ndarray:
        return ((y - row) / height) ** 2 + ((x - column) / width) ** 2 < 1

    values = np.full(y.shape, -1000.0)
    tissues = [
        ((256, 256, 170, 220), -90.0),
        ((256, 256, 155, 203), 45.0),
        ((230, 180, 95, 95), 105.0),
        ((350, 256, 30, 32), 350.0),
        ((350, 256, 22, 24), 220.0),
        ((200, 330, 40, 45), 20.0),
        ((185, 335, 18, 30), -950.0),
    ]
    for place, value in tissues:
        values[ellipse(*place)] = value
    for angle in np.linspace(0, 2 * np.pi, 14):
        values[ellipse(256 + 150 * np.sin(angle), 256 + 198 * np.cos(angle), 8, 14)] = 500.0
    edge = 1 + 0.15 * np.sin(3 * np.arctan2(y - 230, x - 170) + rng.uniform(0, 2 * np.pi))
    lesion = np.hypot(y - 230, x - 170) < 22 * edge
    values[lesion] = 105.0 + contrast
    grain = ndimage.gaussian_filter(rng.normal(0, 1, values.shape), 0.7)
    values = ndimage.gaussian_filter(values, 0.8) + noise * grain / grain.std()
    return np.rint(values).astype(np.int16), lesion


@pytest.mark.parametrize(
    ("value", "window"),
    [(-1000, LUNG), (-600, LUNG), (-301, LUNG), (-300, SOFT_TISSUE), (0, SOFT_TISSUE), (250, SOFT_TISSUE), (251, BONE)],
)
def test_a_tissue_is_looked_at_in_its_window(value: float, window: object) -> None:
    assert window_at(value) == window


def test_a_window_goes_from_black_to_white() -> None:
    values = np.array([-2000, -160, 40, 140, 240, 3000], np.int16)
    np.testing.assert_allclose(SOFT_TISSUE.stretch(values), [0, 0, 0.5, 0.75, 1, 1], atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("outside", [None, -1024, -2000, -3024])
def test_ct_is_known_by_its_air(dtype: type, outside: int | None) -> None:
    values = abdomen(0)[0]
    if outside is not None:
        y, x = np.mgrid[:512, :512]
        values[np.hypot(y - 256, x - 256) > 250] = outside
    assert is_hounsfield(values.astype(dtype))
    assert not is_hounsfield((values - values.min()).astype(np.uint16))
    assert not is_hounsfield(values[200:260, 150:200].astype(dtype))  # without air


def test_other_negative_values_are_no_ct() -> None:
    rng = np.random.default_rng(0)
    phase = rng.integers(-4096, 4096, (128, 128)).astype(np.int16)
    difference = np.rint(rng.normal(0, 400, (128, 128))).astype(np.int16)
    assert not is_hounsfield(phase)
    assert not is_hounsfield(difference)
    assert not is_hounsfield(rng.normal(0, 1, (64, 64)))
    assert not is_hounsfield(np.full((8, 8), -1e30))
    assert not is_hounsfield(np.zeros((8, 8, 3), np.int16))


@pytest.mark.parametrize("value", [-500, -501, -10000, -10001, 0])
def test_an_image_of_one_value_is_seen_black_or_as_ct(value: int) -> None:
    assert not prepare_image(np.full((8, 8), value, np.int16)).rgb.any()


def test_ct_is_shown_as_soft_tissue_until_something_else_is_clicked_on() -> None:
    values, _ = abdomen(0)
    values[60:120, 60:120] = 700
    values[60:120, 130:190] = -870
    image = prepare_image(values)
    soft = np.repeat(SOFT_TISSUE.stretch(values)[..., None], 3, axis=2)
    np.testing.assert_array_equal(image.rgb, soft)
    np.testing.assert_array_equal(to_rgb(np.repeat(values[..., None], 3, axis=2)), soft)
    air, bone, lung, liver = Click(10, 10, False), Click(90, 90), Click(90, 160), Click(230, 110)
    np.testing.assert_array_equal(image.seen([]), soft)
    np.testing.assert_array_equal(image.seen([air]), soft)
    np.testing.assert_array_equal(image.seen([liver, bone]), soft)
    np.testing.assert_array_equal(image.seen([air, bone, liver])[..., 1], BONE.stretch(values))
    np.testing.assert_array_equal(image.seen([lung])[..., 2], LUNG.stretch(values))
    assert image.seen([lung]).dtype == np.float32


def test_images_without_air_are_seen_as_ever() -> None:
    values = np.random.default_rng(0).integers(0, 2000, (32, 40)).astype(np.int16)
    image = prepare_image(values)
    assert image.hounsfield is None
    assert image.seen([Click(3, 3)]) is image.rgb


def test_noise_at_the_click_does_not_choose_the_window() -> None:
    values, _ = abdomen(0)
    values[230, 110] = 400
    np.testing.assert_array_equal(prepare_image(values).seen([Click(230, 110)]), to_rgb(values))


@pytest.mark.slow
def test_a_lesion_of_the_liver_is_found_that_differs_by_fifty_units() -> None:
    segmenter = InteractiveSegmenter.from_pretrained()

    def ious(image: np.ndarray, lesion: np.ndarray) -> list[float]:
        segmenter.set_image(image)
        mask, clicked, found = np.zeros(lesion.shape, bool), np.zeros(lesion.shape, bool), []
        for _ in range(2):
            click = standard_click(mask, lesion, clicked)
            assert click is not None
            clicked[click.y, click.x] = True
            mask = segmenter.click(click.y, click.x, positive=click.positive).mask
            found.append(float((mask & lesion).sum() / (mask | lesion).sum()))
        return found

    seen, stretched = [], []
    for seed in range(3):
        values, lesion = abdomen(seed)
        seen.append(ious(values, lesion))
        # As any other image: from the darkest to the brightest tissue.
        stretched.append(ious((values + 1100).astype(np.uint16), lesion))
    assert np.mean(seen, axis=0)[1] > 0.85
    assert np.mean(seen, axis=0)[0] > np.mean(stretched, axis=0)[0] + 0.3
