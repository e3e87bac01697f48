import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pictures import draw_errors

from activefreq.acselect.placement import PLACEMENTS, expected_gain, place_click
from activefreq.acselect.regions import mislabeled_regions
from activefreq.clicks import Click

PICTURE = """
    .......
    .-----.
    .-----.
    .-----.
    .......
    ++.....
    ++.....
"""


@pytest.fixture
def case():
    prediction, target = draw_errors(PICTURE)
    p = np.where(prediction, 0.8, 0.3)
    p[1, 1], p[3, 4] = 0.55, 0.95
    return p, mislabeled_regions(prediction, target)


def test_placements_by_hand(case):
    p, regions = case
    clicked = np.zeros((7, 7), bool)
    # Region 0 is the missed square, region 1 the excess rectangle.
    assert place_click(regions, 1, p, clicked) == Click(2, 2, positive=False)
    assert place_click(regions, 1, p, clicked, placement="uncertain") == Click(1, 1, positive=False)
    assert place_click(regions, 1, p, clicked, placement="wrong") == Click(3, 4, positive=False)
    # Depth 2 and p 0.8 in the middle row beat depth 1 and p 0.95; with p 0.99 at depth 2 there is something better.
    assert place_click(regions, 1, p, clicked, placement="core") == Click(2, 2, positive=False)
    p[2, 4] = 0.99
    assert place_click(regions, 1, p, clicked, placement="core") == Click(2, 4, positive=False)
    # All pixels of the square are alike: the first wins.
    for placement in ("interior", "uncertain", "wrong"):
        assert place_click(regions, 0, p, clicked, placement=placement) == Click(5, 0, positive=True)


def test_clicked_pixels_are_passed_over(case):
    p, regions = case
    clicked = np.zeros((7, 7), bool)
    clicked[2, 2] = clicked[1, 1] = clicked[3, 4] = True
    assert place_click(regions, 1, p, clicked) == Click(2, 3, positive=False)
    # Of the remaining pixels of p 0.8 the deepest not clicked.
    assert place_click(regions, 1, p, clicked, placement="uncertain") == Click(2, 3, positive=False)
    assert place_click(regions, 1, p, clicked, placement="wrong") == Click(2, 3, positive=False)
    clicked[1:4, 1:6] = True
    with pytest.raises(ValueError, match="region 1 has no pixel left"):
        place_click(regions, 1, p, clicked)


@given(
    hnp.arrays(np.uint8, (6, 9), elements=st.integers(0, 3)),
    hnp.arrays(np.float32, (6, 9), elements=st.floats(0, 1, width=32)),
    hnp.arrays(bool, (6, 9)),
    st.sampled_from(PLACEMENTS),
)
def test_a_click_lies_in_its_region_on_a_new_pixel_with_its_sign(codes, p, clicked, placement):
    regions = mislabeled_regions(codes % 2 == 1, codes >= 2)
    for number in np.flatnonzero(regions.clickable(clicked)):
        click = place_click(regions, number, p, clicked, placement=placement)
        assert regions.labels[click.y, click.x] == number + 1
        assert not clicked[click.y, click.x]
        assert click.positive == regions.positive[number]


def gaussian(dy, dx, sigma, margin):
    """Weight of a pixel at an offset, as a filter cut off at the margin gives it."""
    taps = np.exp(-0.5 * (np.arange(-margin, margin + 1) / sigma) ** 2)
    taps /= taps.sum()
    return taps[dy + margin] * taps[dx + margin] if max(abs(dy), abs(dx)) <= margin else 0.0


@pytest.mark.parametrize("number", [0, 1])
def test_expected_gain_equals_the_sum_that_defines_it(number):
    prediction, target = draw_errors("""
        ##..+..
        ##.++..
        ##.--..
        ...--..
        ...--.#
        .......
    """)
    p = np.where(prediction, 0.8, 0.3)
    p[0, 5] = 0.5
    regions = mislabeled_regions(prediction, target)
    gain = expected_gain(regions, number, p, reach=1.0, caution=0.5)
    sigma = math.sqrt(target.sum() / math.pi)
    margin = math.ceil(3 * sigma)
    sign = 1 if number == 0 else -1
    rows, columns = regions.boxes[number]
    for y in range(rows.start, rows.stop):
        for x in range(columns.start, columns.stop):
            total = 0.0
            for v in range(6):
                for u in range(7):
                    if prediction[v, u] != target[v, u]:
                        worth = sign if target[v, u] else -sign
                    elif prediction[v, u] == (number == 1):
                        q = p[v, u]
                        worth = -0.5 * -(q * math.log(q) + (1 - q) * math.log(1 - q))
                    else:
                        worth = 0.0
                    total += worth * gaussian(v - y, u - x, sigma, margin)
            assert gain[y - rows.start, x - columns.start] == pytest.approx(total, abs=1e-12)


def test_the_click_keeps_away_from_what_it_would_spoil():
    prediction, target = draw_errors("""
        .........
        -------##
        -------##
        -------##
        +++....##
        +++......
        .........
    """)
    p = np.where(prediction, 0.99, 0.1)
    p[:, 7:] = np.where(prediction[:, 7:], 0.51, 0.1)
    regions = mislabeled_regions(prediction, target)
    clicked = np.zeros_like(target)

    def column(caution):
        return place_click(regions, 1, p, clicked, placement="gain", reach=1.0, caution=caution).x

    assert place_click(regions, 1, p, clicked).x == 1
    # The missed square below on the left would suffer from a click near it, the unsure object on the right too.
    assert 1 < column(1.0) < column(0.0)
