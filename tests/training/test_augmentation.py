from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activefreq.data.resizing import resize_image
from activefreq.errors import InputError
from activefreq.training.augmentation import AugmentationConfig, random_view

PLAIN = AugmentationConfig(brightness=0.0, contrast=0.0, saturation=0.0)
# The whole image, as it is.
STILL = replace(PLAIN, whole_share=1.0, scale=(1.0, 1.0), rotation=0.0, flip=False, enlarged_share=0.0)


def scene(shape: tuple[int, int], centre: tuple[int, int], radius: float) -> tuple[np.ndarray, np.ndarray]:
    """A disk that is bright exactly where the mask is."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    mask = np.hypot(rows - centre[0], columns - centre[1]) < radius
    return np.repeat(mask[..., None], 3, axis=2).astype(np.float32), mask


@given(st.integers(0, 10_000), st.sampled_from([(40, 60), (64, 64), (90, 50)]))
def test_image_and_mask_move_together(seed: int, shape: tuple[int, int]) -> None:
    image, mask = scene(shape, (shape[0] // 3, shape[1] // 2), 9)
    view = random_view(image, mask, 48, np.random.default_rng(seed), PLAIN)
    assert view.image.shape == (*view.target.shape, 3)
    assert view.image.dtype == np.float32
    assert view.target.dtype == bool
    np.testing.assert_array_equal(view.image[..., 0] > 0.5, view.target)


@given(st.integers(0, 10_000), st.floats(0.6, 3.0), st.integers(0, 199), st.integers(0, 199))
def test_no_object_is_lost_however_small(seed: int, radius: float, y: int, x: int) -> None:
    image, mask = scene((200, 200), (y, x), radius)
    view = random_view(image, mask, 32, np.random.default_rng(seed))
    assert view.target.sum() >= 1
    assert view.image.min() >= 0.0
    assert view.image.max() <= 1.0


def test_a_single_pixel_of_a_large_image_is_seen() -> None:
    mask = np.zeros((700, 900), bool)
    mask[333, 777] = True
    for seed in range(30):
        view = random_view(np.zeros((700, 900, 3), np.float32), mask, 64, np.random.default_rng(seed))
        assert view.target.sum() >= 1


def a_curve(side: int) -> np.ndarray:
    """As thin as a hair: two pixels wide, from corner to corner."""
    rows, columns = np.mgrid[:side, :side]
    return np.abs(rows - columns - side / 8 * np.sin(rows / side * 9)) < 1


def two_far_pixels(side: int) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[3, 5] = mask[side - 7, side - 2] = True
    return mask


@pytest.mark.parametrize("shape", [a_curve, two_far_pixels])
@pytest.mark.parametrize(("side", "size"), [(1600, 128), (512, 128), (100, 128), (130, 128), (200, 128)])
def test_an_object_that_fills_no_pixel_of_any_view_is_seen(
    shape: Callable[[int], np.ndarray], side: int, size: int
) -> None:
    mask = shape(side)
    for seed in range(5):
        view = random_view(np.zeros((side, side, 3), np.float32), mask, size, np.random.default_rng(seed))
        assert view.target.any()
        assert view.target.mean() < 0.1


@pytest.mark.parametrize("whole_share", [0.0, 1.0])
def test_crops_run_to_no_edge_more_than_to_another(whole_share: float) -> None:
    """Where the object's centre comes to lie, over many views: as often on each side."""
    image, mask = scene((96, 96), (47, 47), 10)
    config = AugmentationConfig(whole_share=whole_share, rotation=0.0, flip=False)
    places = []
    for seed in range(600):
        target = random_view(image, mask, 64, np.random.default_rng(seed), config).target
        places.append((np.argwhere(target).mean(axis=0) + 0.5) / target.shape - 0.5)
    offsets = 64 * np.array(places)
    error = offsets.std(axis=0) / np.sqrt(len(offsets))
    assert (np.abs(offsets.mean(axis=0)) < 4 * error + 0.5).all()
    # And they do move about.
    assert (offsets.std(axis=0) > 1).all()


def test_views_are_turned_and_mirrored_in_all_eight_ways() -> None:
    # Two marks: their places name the symmetry.
    mask = np.zeros((64, 64), bool)
    mask[24:40, 24:40] = True
    image = np.zeros((64, 64, 3), np.float32)
    image[26:30, 26:38, 0] = 1
    image[26:38, 26:30, 1] = 1
    config = AugmentationConfig(
        whole_share=1.0, scale=(1.0, 1.0), rotation=0.0, brightness=0.0, contrast=0.0, saturation=0.0
    )
    seen = set()
    for seed in range(200):
        view = random_view(image, mask, 64, np.random.default_rng(seed), config).image
        bars = [np.argwhere(view[..., channel] > 0.5) for channel in (0, 1)]
        seen.add(tuple((*np.sign(bar.mean(axis=0) - 31.5), np.ptp(bar, axis=0).argmax()) for bar in bars))
    assert len(seen) == 8


def test_light_changes_but_not_the_mask() -> None:
    image, mask = scene((64, 64), (32, 32), 12)
    image = image * 0.5 + 0.2
    lit = AugmentationConfig(brightness=0.3, contrast=0.3, saturation=0.3)
    for seed in range(5):
        one = random_view(image, mask, 48, np.random.default_rng(seed), PLAIN)
        other = random_view(image, mask, 48, np.random.default_rng(seed), lit)
        np.testing.assert_array_equal(one.target, other.target)
        assert not np.array_equal(one.image, other.image)


def test_the_share_of_whole_views_is_kept() -> None:
    image, mask = scene((64, 64), (32, 32), 12)
    whole = [random_view(image, mask, 32, np.random.default_rng(seed)).whole for seed in range(400)]
    assert np.mean(whole) == pytest.approx(0.5, abs=0.1)


def test_the_view_is_a_function_of_the_seed() -> None:
    image, mask = scene((64, 64), (32, 32), 12)
    one, same, other = (random_view(image, mask, 32, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.image, same.image)
    assert not np.array_equal(one.image, other.image)


def test_an_empty_target_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        random_view(np.zeros((9, 9, 3), np.float32), np.zeros((9, 9), bool), 32, np.random.default_rng(0))


def shapes(image: np.ndarray, mask: np.ndarray, size: int, **settings: object) -> set[tuple[int, ...]]:
    config = AugmentationConfig(**{"rotation": 0.0, "flip": False, **settings})  # type: ignore[arg-type]
    return {random_view(image, mask, size, np.random.default_rng(seed), config).target.shape for seed in range(40)}


def test_a_view_keeps_the_pixels_of_its_image_or_is_enlarged_to_the_input() -> None:
    image, mask = scene((30, 50), (15, 25), 5)
    whole = {"whole_share": 1.0, "scale": (1.0, 1.0)}
    assert shapes(image, mask, 100, **whole, enlarged_share=0.0) == {(30, 50)}
    assert shapes(image, mask, 100, **whole, enlarged_share=1.0) == {(60, 100)}
    assert shapes(image, mask, 100, **whole) == {(30, 50), (60, 100)}
    near = {"whole_share": 0.0, "window": (2.0, 2.0), "window_minimum": 1.0, "enlarged_share": 0.0}
    assert shapes(image, mask, 100, **near) == {(18, 18)}


def test_a_resized_view_shows_each_pixel_of_a_small_image_as_a_block() -> None:
    image, mask = scene((12, 20), (6, 10), 4)
    config = AugmentationConfig(
        whole_share=1.0, scale=(1.0, 1.0), enlarged_share=1.0, resized_share=1.0, detail=1.0, flip=False,
        brightness=0.0, contrast=0.0, saturation=0.0,
    )  # fmt: skip
    for seed in range(5):
        view = random_view(image, mask, 60, np.random.default_rng(seed), config)
        np.testing.assert_array_equal(view.target, np.kron(mask, np.ones((5, 3), bool)))
        np.testing.assert_allclose(view.image, resize_image(image, (60, 60)), atol=1e-6)
        assert view.whole


def test_a_resized_view_of_a_part_keeps_its_proportions_and_holds_its_object() -> None:
    image, mask = scene((40, 30), (14, 20), 4)
    rows, columns = np.nonzero(mask)
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    config = AugmentationConfig(
        whole_share=0.0, window=(2.0, 2.0), window_minimum=1.0, enlarged_share=1.0, resized_share=1.0
    )
    shapes = set()
    for seed in range(40):
        view = random_view(image, mask, 64, np.random.default_rng(seed), config)
        shapes.add(view.target.shape)
        scale = max(view.target.shape) / (2 * max(height, width))
        assert 64 <= max(view.target.shape) <= 128
        assert not view.whole
        assert view.target.sum() == pytest.approx(mask.sum() * scale**2, rel=0.15)
    assert len(shapes) > 20


def test_only_images_smaller_than_the_input_are_resized() -> None:
    image, mask = scene((64, 40), (30, 20), 8)
    plain, asked = (
        AugmentationConfig(enlarged_share=1.0, whole_share=0.0, resized_share=share) for share in (0.0, 1.0)
    )
    for seed in range(5):
        one, other = (random_view(image, mask, 64, np.random.default_rng(seed), config) for config in (plain, asked))
        np.testing.assert_array_equal(one.image, other.image)


def test_a_window_with_nothing_of_its_object_is_no_view() -> None:
    mask = np.zeros((20, 20), bool)
    mask[0, 0] = mask[19, 19] = True
    config = AugmentationConfig(whole_share=1.0, scale=(0.5, 0.5), enlarged_share=1.0, resized_share=1.0)
    for seed in range(20):
        assert random_view(
            np.zeros((20, 20, 3), np.float32), mask, 64, np.random.default_rng(seed), config
        ).target.any()


def test_a_large_image_is_shown_with_the_detail_that_was_asked_for() -> None:
    image, mask = scene((300, 200), (150, 100), 60)
    assert shapes(image, mask, 64, whole_share=1.0, scale=(1.0, 1.0), detail=1.5) == {(96, 64)}


def test_an_unchanged_view_has_the_images_own_pixels() -> None:
    rng = np.random.default_rng(0)
    image, mask = rng.random((20, 31, 3), np.float32), rng.random((20, 31)) > 0.5
    view = random_view(image, mask, 64, rng, STILL)
    np.testing.assert_allclose(view.image, image, atol=1e-5)
    np.testing.assert_array_equal(view.target, mask)


def test_a_warped_view_moves_image_and_mask_together() -> None:
    image, mask = scene((96, 96), (50, 44), 20)
    config = replace(STILL, warp=0.06)
    moved = []
    for seed in range(20):
        view = random_view(image, mask, 48, np.random.default_rng(seed), config)
        np.testing.assert_array_equal(view.image[..., 0] > 0.5, view.target)
        moved.append(np.logical_xor(view.target, mask).sum() / mask.sum())
    # Shapes differ from each other and from what was drawn, and are the same object still.
    assert len(set(moved)) >= 15
    assert 0.05 < np.median(moved) < 0.6


def test_a_warp_is_as_large_as_it_was_asked_to_be() -> None:
    """A picture of its own coordinates tells where each pixel came from."""
    y, x = np.mgrid[:80, :120].astype(np.float32)
    image = np.stack([y / 80, x / 120, np.zeros_like(x)], axis=2)
    config = replace(STILL, warp=0.03)
    inside = (slice(15, -15), slice(15, -15))
    moves = []
    for seed in range(60):
        view = random_view(image, np.ones((80, 120), bool), 64, np.random.default_rng(seed), config).image
        move = (view - image)[inside] * [80, 120, 0]
        moves.append([move[..., 0].std(), move[..., 1].std()])
        # Neighbours move alike.
        assert np.abs(np.diff(move, axis=0)).max() < 1.0
    # A standard deviation uniform from 0 to 0.03 of 120 pixels, less what four places leave between them.
    means = np.mean(moves, axis=0)
    assert ((means > 0.6) & (means < 1.8)).all()
    assert means[0] == pytest.approx(means[1], rel=0.3)


def test_gamma_keeps_the_order_of_grey_values_and_black_and_white() -> None:
    ramp = np.repeat(np.linspace(0, 1, 64, dtype=np.float32)[None, :, None], 64, axis=0).repeat(3, axis=2)
    config = replace(STILL, gamma=0.7)
    exponents = []
    for seed in range(40):
        row = random_view(ramp, np.ones((64, 64), bool), 64, np.random.default_rng(seed), config).image[5, :, 0]
        assert (np.diff(row) > 0).all()
        assert (row[0], row[-1]) == pytest.approx((0, 1), abs=1e-5)
        exponents.append(np.log(np.log(row[20]) / np.log(ramp[5, 20, 0])))
    assert -0.7 - 1e-3 <= min(exponents) < -0.4
    assert 0.4 < max(exponents) <= 0.7 + 1e-3


def test_shading_changes_the_light_smoothly_and_stays_in_range() -> None:
    image, mask = np.full((64, 64, 3), 0.5, np.float32), np.ones((64, 64), bool)
    config = replace(STILL, shading=0.4)
    spreads = []
    for seed in range(30):
        view = random_view(image, mask, 64, np.random.default_rng(seed), config).image
        assert view.min() >= 0
        assert view.max() <= 1
        inner = view[8:-8, 8:-8, 0]
        assert np.abs(np.diff(inner, axis=0)).max() < 0.08
        spreads.append(inner.std())
    assert max(spreads) > 0.05


@pytest.mark.parametrize("name", ["warp", "gamma", "shading"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_a_strength_that_is_none_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        AugmentationConfig(**{name: value})
