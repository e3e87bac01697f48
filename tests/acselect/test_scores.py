import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pictures import draw_errors

from activefreq.acselect.entropy import binary_entropy, categorical_entropy
from activefreq.acselect.regions import mislabeled_regions
from activefreq.acselect.scores import ScoreConfig, measure_regions, region_score, size_term
from activefreq.errors import InputError

PICTURE = """
    ++.....
    ++.....
    .....--
    ......-
    ..##...
    ..##...
    +......
"""
QUARTER = 0.25 * math.log(4) + 0.75 * math.log(4 / 3)
HALF = math.log(2)


@pytest.fixture
def case():
    """Four missed pixels of p 0.25, 0.5, 0.5, 0.0; one of 0.25; three excess ones of 0.75, 1.0, 0.75."""
    prediction, target = draw_errors(PICTURE)
    p = np.where(prediction, 0.9, 0.1)
    p[0, 0], p[0, 1], p[1, 0], p[1, 1] = 0.25, 0.5, 0.5, 0.0
    p[6, 0] = 0.25
    p[2, 5], p[2, 6], p[3, 6] = 0.75, 1.0, 0.75
    return p, mislabeled_regions(prediction, target)


def test_measures_by_hand(case):
    scores = measure_regions(*case)
    np.testing.assert_allclose(scores.mpe, [HALF, QUARTER, QUARTER])
    np.testing.assert_allclose(scores.ape, [(QUARTER + 2 * HALF) / 4, QUARTER, 2 * QUARTER / 3])
    # Missed: p* is the least, 0.0, against a mean of 1.25 / 4. Excess: p* is the greatest, 1.0, against 2.5 /
    # 3.
    np.testing.assert_allclose(scores.deviation, [1.25 / 4, 0.0, 1 - 2.5 / 3])
    np.testing.assert_allclose(scores.wrongness, [1 - 1.25 / 4, 0.75, 2.5 / 3])
    np.testing.assert_array_equal(scores.area, [4, 1, 3])


def test_region_score_by_hand(case):
    scores = measure_regions(*case)
    mpe, ape = scores.mpe, scores.ape
    deviation = np.array([0.3125, 0.0, 1 / 6])
    paper = ScoreConfig(size="none")
    np.testing.assert_allclose(region_score(scores, paper), mpe + ape + 1 - deviation)
    other = ScoreConfig(alpha=2, beta=0.5, gamma=3, rgu="inconsistency", size="none")
    np.testing.assert_allclose(region_score(scores, other), 2 * mpe + 0.5 * ape + 3 * deviation)
    for size, factor in {
        "linear": [4, 1, 3],
        "sqrt": [2, 1, math.sqrt(3)],
        "log": [math.log(5), math.log(2), math.log(4)],
    }.items():
        expected = (mpe + ape + 1 - deviation) * factor
        np.testing.assert_allclose(region_score(scores, ScoreConfig(size=size)), expected)
    only_mpe = ScoreConfig(alpha=1, beta=0, gamma=0, size="none")
    np.testing.assert_array_equal(region_score(scores, only_mpe), mpe)


def test_multi_class_entropy_takes_the_place_of_two_classes(case):
    p, regions = case
    split = np.stack([1 - p, p / 2, p / 2])
    scores = measure_regions(p, regions, entropy=categorical_entropy(split))
    # Halving a class of probability p adds p log 2 to the entropy.
    np.testing.assert_allclose(scores.ape[1], QUARTER + 0.25 * HALF)
    np.testing.assert_allclose(scores.mpe[2], max(QUARTER + 0.75 * HALF, HALF))
    np.testing.assert_array_equal(scores.deviation, measure_regions(p, regions).deviation)


def test_no_regions_no_scores():
    mask = np.zeros((7, 7), bool)
    scores = measure_regions(np.zeros((7, 7), np.float32), mislabeled_regions(mask, mask))
    assert region_score(scores, ScoreConfig()).shape == (0,)


@given(
    hnp.arrays(np.uint8, (6, 9), elements=st.integers(0, 3)),
    hnp.arrays(np.float32, (6, 9), elements=st.floats(0, 1, width=32)),
)
def test_equals_a_loop_over_regions(codes, p):
    regions = mislabeled_regions(codes % 2 == 1, codes >= 2)
    scores = measure_regions(p, regions)
    for number in range(len(regions)):
        inside = p[regions.labels == number + 1].astype(np.float64)
        entropy = binary_entropy(inside)
        worst = inside.min() if regions.positive[number] else inside.max()
        assert scores.mpe[number] == pytest.approx(entropy.max())
        assert scores.ape[number] == pytest.approx(entropy.mean())
        assert scores.deviation[number] == pytest.approx(abs(worst - inside.mean()), abs=1e-12)
        assert scores.area[number] == inside.size
        assert scores.ape[number] <= scores.mpe[number] + 1e-12


def test_swapping_the_classes_changes_no_score(case):
    p, regions = case
    prediction, target = draw_errors(PICTURE)
    swapped = measure_regions(1 - p, mislabeled_regions(~prediction, ~target))
    scores = measure_regions(p, regions)
    # The missed regions come first: the two of the original are the last two of the swapped image.
    for name in ("mpe", "ape", "deviation", "wrongness", "area"):
        np.testing.assert_allclose(np.roll(getattr(scores, name), 1), getattr(swapped, name), atol=1e-12)


def test_size_terms_grow_with_area_and_are_one_or_less_at_a_pixel():
    area = np.array([1.0, 10.0, 1000.0])
    for size in ("linear", "sqrt", "log"):
        factor = size_term(area, size)
        assert (np.diff(factor) > 0).all()
        assert factor[0] <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1.0}, "alpha must be a number of at least 0"),
        ({"gamma": math.nan}, "gamma must be a number of at least 0"),
        ({"rgu": "both"}, "rgu must be one of consistency, inconsistency, not 'both'"),
        ({"size": "cubic"}, "size must be one of none, linear, sqrt, log, not 'cubic'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        ScoreConfig(**options)


def test_wrong_shapes_are_named(case):
    p, regions = case
    with pytest.raises(InputError, match="probability has shape"):
        measure_regions(p[:3], regions)
    with pytest.raises(InputError, match="entropy has shape"):
        measure_regions(p, regions, entropy=p[:3])
