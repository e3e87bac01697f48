import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pictures import draw_errors

from activefreq.acselect.placement import PLACEMENTS, place_click
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
    # All pixels of the square are alike: the first wins, whatever the placement.
    for placement in PLACEMENTS:
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
