import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pictures import draw, draw_errors

from activefreq.acselect.regions import label_regions, mislabeled_regions
from activefreq.errors import InputError

# Three kinds of regions: two missed ones that touch at a corner, an excess one that touches a missed one
# along an edge, and a region of one pixel.
PICTURE = """
    ++.....
    ++.....
    ..+--..
    ..+--..
    ...#...
    ...#..-
    .......
"""

MASK_PAIRS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3)).map(
    lambda codes: (codes % 2 == 1, codes >= 2)
)


def test_regions_by_hand_8_connected():
    regions = mislabeled_regions(*draw_errors(PICTURE), connectivity=8)
    np.testing.assert_array_equal(
        regions.labels,
        [
            [1, 1, 0, 0, 0, 0, 0],
            [1, 1, 0, 0, 0, 0, 0],
            [0, 0, 1, 2, 2, 0, 0],
            [0, 0, 1, 2, 2, 0, 0],
            [0, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 3],
            [0, 0, 0, 0, 0, 0, 0],
        ],
    )
    np.testing.assert_array_equal(regions.positive, [True, False, False])
    np.testing.assert_array_equal(regions.areas, [6, 4, 1])
    assert regions.boxes == (np.s_[0:4, 0:3], np.s_[2:4, 3:5], np.s_[5:6, 6:7])
    mask, corner = regions.mask(0)
    np.testing.assert_array_equal(mask, draw("##. ##. ..# ..#"))
    assert corner == (0, 0)
    assert regions.mask(2)[1] == (5, 6)


def test_regions_by_hand_4_connected():
    regions = mislabeled_regions(*draw_errors(PICTURE), connectivity=4)
    np.testing.assert_array_equal(regions.positive, [True, True, False, False])
    np.testing.assert_array_equal(regions.areas, [4, 2, 4, 1])


def test_a_perfect_prediction_has_no_regions():
    for target in (np.zeros((7, 7), bool), np.ones((7, 7), bool)):
        regions = mislabeled_regions(target, target)
        assert len(regions) == 0
        assert regions.boxes == ()
        assert regions.clickable(np.zeros((7, 7), bool)).shape == (0,)


def test_an_empty_and_a_full_target_are_one_region_of_one_sign():
    empty, full = np.zeros((7, 7), bool), np.ones((7, 7), bool)
    assert mislabeled_regions(full, empty).positive.tolist() == [False]
    assert mislabeled_regions(empty, full).positive.tolist() == [True]
    assert mislabeled_regions(empty, full).areas.tolist() == [49]


def test_a_region_is_clickable_until_all_its_pixels_are_clicked():
    regions = mislabeled_regions(*draw_errors(PICTURE))
    clicked = np.zeros((7, 7), bool)
    clicked[5, 6] = clicked[2, 3] = True
    assert regions.clickable(clicked).tolist() == [True, True, False]


@given(MASK_PAIRS, st.sampled_from([4, 8]))
def test_regions_partition_the_errors(pair, connectivity):
    prediction, target = pair
    regions = mislabeled_regions(prediction, target, connectivity=connectivity)
    np.testing.assert_array_equal(regions.labels > 0, prediction != target)
    assert regions.areas.sum() == (prediction != target).sum()
    flat, numbers = regions.pixels()
    np.testing.assert_array_equal(regions.positive[numbers], target.ravel()[flat])
    for number in range(len(regions)):
        mask, (top, left) = regions.mask(number)
        assert mask.sum() == regions.areas[number]
        # Its box is the smallest one.
        assert mask[0].any()
        assert mask[-1].any()
        assert mask[:, 0].any()
        assert mask[:, -1].any()
        whole = np.zeros_like(target)
        whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
        np.testing.assert_array_equal(whole, regions.labels == number + 1)


@given(MASK_PAIRS)
def test_neighbours_of_one_sign_share_a_region(pair):
    prediction, target = pair
    labels = {c: mislabeled_regions(prediction, target, connectivity=c).labels for c in (4, 8)}
    sign = target.astype(int) - prediction.astype(int)
    for connectivity, steps in {4: [(0, 1), (1, 0)], 8: [(0, 1), (1, 0), (1, 1)]}.items():
        for dy, dx in steps:
            height, width = sign.shape
            here = np.s_[: height - dy, : width - dx]
            there = np.s_[dy:, dx:]
            same = (sign[here] == sign[there]) & (sign[here] != 0)
            found = labels[connectivity]
            assert (found[here] == found[there])[same].all()


def test_bad_input_is_named():
    mask = np.zeros((7, 7), bool)
    with pytest.raises(InputError, match="connectivity must be 4 or 8, not 6"):
        label_regions(mask, mask, connectivity=6)
    with pytest.raises(InputError, match=r"\(7, 7\).*\(7, 8\)"):
        mislabeled_regions(mask, np.zeros((7, 8), bool))
    with pytest.raises(InputError, match="both missed and in excess"):
        label_regions(~mask, ~mask)
    with pytest.raises(InputError, match="one shape"):
        label_regions(mask[0], mask[0])
