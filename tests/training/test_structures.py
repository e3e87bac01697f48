import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from synthetic import rgb_blob
from trainees import blob_pictures, quick_config

from activefreq.errors import InputError
from activefreq.session.intensity import to_rgb
from activefreq.training.batches import Mixture, make_batch
from activefreq.training.structures import StructureConfig, another_structure, found_region, painted_blob

FOUND = StructureConfig(share=1.0, painted=0.0)
PAINTED = StructureConfig(share=1.0, painted=1.0)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def patches() -> np.ndarray:
    """(60, 80, 3): four flat fields under a little noise."""
    image = np.zeros((60, 80, 3))
    image[:, 40:] = (0.8, 0.3, 0.2)
    image[30:, :40] = (0.2, 0.7, 0.4)
    image[30:, 40:] = (0.1, 0.2, 0.9)
    return np.clip(image + rng(0).normal(0, 0.01, image.shape), 0, 1).astype(np.float32)


def test_share_zero_leaves_image_and_target() -> None:
    image, target = rgb_blob(0)
    rgb = to_rgb(image)
    same = another_structure(rgb, target, rng(0), StructureConfig())
    assert same[0] is rgb
    assert same[1] is target


def test_the_share_is_the_share_of_other_targets() -> None:
    image, target = rgb_blob(0)
    rgb = to_rgb(image)
    config = StructureConfig(share=0.3, painted=1.0)
    others = [another_structure(rgb, target, rng(seed), config)[1] is not target for seed in range(200)]
    assert np.mean(others) == pytest.approx(0.3, abs=0.09)


def test_a_found_region_is_one_of_the_fields_of_the_image() -> None:
    image = patches()
    config = StructureConfig(share=1.0, area=(0.1, 0.6))
    corners = set()
    for seed in range(12):
        region = found_region(image, rng(seed), config)
        assert region is not None
        corner = (ndimage.center_of_mass(region)[0] > 30, ndimage.center_of_mass(region)[1] > 40)
        field = np.zeros((60, 80), bool)
        field[30 * corner[0] : 30 * corner[0] + 30, 40 * corner[1] : 40 * corner[1] + 40] = True
        # Blurred borders may be regions of their own.
        assert (region & field).sum() > 0.95 * region.sum()
        assert (region & field).sum() > 0.7 * field.sum()
        corners.add(corner)
    assert len(corners) > 2


def test_where_no_region_has_the_size_the_experts_mask_stays() -> None:
    target = np.ones((40, 40), bool)
    flat = np.full((40, 40, 3), 0.5, np.float32)
    assert found_region(flat, rng(0), FOUND) is None
    assert another_structure(flat, target, rng(0), FOUND)[1] is target


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 10_000), st.booleans())
def test_a_painted_blob_is_one_piece_and_can_be_seen(height: int, width: int, seed: int, colour: bool) -> None:
    image = rng(seed).random((height, width, 3 if colour else 1)).astype(np.float32) * np.ones(3, np.float32)
    painted, blob = painted_blob(image, rng(seed), PAINTED)
    assert painted.shape == image.shape
    assert painted.dtype == np.float32
    assert painted.min() >= 0.0
    assert painted.max() <= 1.0
    assert ndimage.label(blob)[1] == 1
    assert (painted[blob] != image[blob]).any()
    if not colour:
        np.testing.assert_array_equal(painted[..., 0], painted[..., 2])


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_painted_blob_stands_out_from_black_and_white(level: float) -> None:
    image = np.full((64, 64, 3), level, np.float32)
    for seed in range(20):
        painted, blob = painted_blob(image, rng(seed), PAINTED)
        inner = ndimage.distance_transform_edt(blob) >= min(4, ndimage.distance_transform_edt(blob).max())
        assert abs(float(painted[inner].mean()) - level) > 0.02
        far = ndimage.distance_transform_edt(~blob) > 8
        np.testing.assert_allclose(painted[far], image[far], atol=1e-6)


def test_the_areas_are_those_that_are_asked_for() -> None:
    image = np.full((128, 128, 3), 0.5, np.float32)
    config = StructureConfig(share=1.0, painted=1.0, area=(0.02, 0.1))
    shares = [painted_blob(image, rng(seed), config)[1].mean() for seed in range(60)]
    # Some lie partly outside of the image, and their waves move their borders.
    assert 0.02 < np.median(shares) < 0.1
    assert max(shares) < 0.2


def test_views_of_a_batch_have_them_and_are_otherwise_the_same() -> None:
    mixture = Mixture([blob_pictures(4)])
    batches = {
        share: make_batch(mixture, quick_config(structures=StructureConfig(share=share, painted=1.0)), 0)
        for share in (0.0, 0.5, 1.0)
    }
    for share, batch in batches.items():
        changed = [
            not np.array_equal(one.target, other.target)
            for one, other in zip(batch.views, batches[0.0].views, strict=True)
        ]
        assert changed == [share == 1.0] * 4 if share != 0.5 else any(changed)
        assert [view.image.shape for view in batch.views] == [view.image.shape for view in batches[0.0].views]
        assert batch.seeds == batches[0.0].seeds


def test_walls_lie_around_the_experts_object_in_the_image_as_it_is() -> None:
    image, target = rgb_blob(0)
    rgb = to_rgb(image)
    config = StructureConfig(share=1.0, painted=0.0, walls=1.0, wall=(0.3, 0.3))
    same, band = another_structure(rgb, target, rng(0), config)
    assert same is rgb
    assert not (band & target).any()
    around = ndimage.distance_transform_edt(~target)
    radius = np.sqrt(target.sum() / np.pi)
    assert around[band].max() == pytest.approx(0.3 * radius + 0.5, abs=1.0)
    whole = np.ones_like(target)
    assert another_structure(rgb, whole, rng(0), config)[1] is whole


@pytest.mark.parametrize(
    "values",
    [
        {"share": 1.5},
        {"painted": -0.1},
        {"area": (0.5, 0.1)},
        {"area": (0.0, 0.1)},
        {"walls": 0.7},
        {"walls": -1.0},
        {"wall": (0.0, 0.5)},
        {"wall": (0.2, float("inf"))},
    ],
)
def test_wrong_options_are_named(values: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(values))):
        StructureConfig(**values)  # type: ignore[arg-type]
