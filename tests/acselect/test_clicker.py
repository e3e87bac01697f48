import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pictures import draw, draw_errors

from activefreq.acselect.clicker import interior_point, standard_click
from activefreq.clicks import Click
from activefreq.errors import InputError


def naive_peak(mask, clicked):
    """Largest squared distance to a pixel outside (so is a ring around the image), over all pairs."""
    height, width = mask.shape
    outside = [
        (y, x)
        for y in range(-1, height + 1)
        for x in range(-1, width + 1)
        if not (0 <= y < height and 0 <= x < width and mask[y, x])
    ]
    best = (0, -1, -1)
    for y in range(height):
        for x in range(width):
            if mask[y, x] and not clicked[y, x]:
                distance = min((y - v) ** 2 + (x - u) ** 2 for v, u in outside)
                if distance > best[0]:
                    best = (distance, y, x)
    return best


def naive_click(prediction, target, clicked):
    missed = naive_peak(target & ~prediction, clicked)
    excess = naive_peak(prediction & ~target, clicked)
    if missed[0] == excess[0] == 0:
        return None
    return Click(*missed[1:], True) if missed[0] > excess[0] else Click(*excess[1:], False)


@st.composite
def situations(draw_from):
    shape = draw_from(hnp.array_shapes(min_dims=2, max_dims=2, max_side=8))
    dense = st.floats(0, 1).flatmap(
        lambda share: hnp.arrays(float, shape, elements=st.floats(0, 1)).map(lambda a: a < share)
    )
    return draw_from(dense), draw_from(dense), draw_from(dense)


@given(situations())
@settings(max_examples=300)
def test_equals_a_naive_double_loop(situation):
    assert standard_click(*situation) == naive_click(*situation)


def test_by_hand():
    prediction, target = draw_errors("""
        +++....
        +++....
        +++.---
        ..#.---
        ..#.---
        ..#.---
        ..#....
    """)
    clicked = np.zeros((7, 7), bool)
    # Both regions reach a depth of 2: excess wins the tie, and (3, 5) comes before (4, 5).
    assert standard_click(prediction, target, clicked) == Click(3, 5, positive=False)
    clicked[3, 5] = True
    assert standard_click(prediction, target, clicked) == Click(4, 5, positive=False)
    clicked[4, 5] = True
    assert standard_click(prediction, target, clicked) == Click(1, 1, positive=True)


def test_the_distance_is_that_of_the_whole_mask_and_stops_at_the_image():
    mask = draw("""
        .....
        ..###
        ..###
        ..###
    """)
    point = interior_point(mask, np.zeros_like(mask))
    assert point == (2, 3, 2.0)
    assert interior_point(np.ones((3, 3), bool), np.zeros((3, 3), bool)) == (1, 1, 2.0)
    # (3, 3) lies two columns and a row away from the missing corner, and nearer to nothing else.
    cut = draw("""
        ######
        ######
        ######
        ######
        #####.
        ######
    """)
    point = interior_point(cut, np.zeros_like(cut))
    assert point[:2] == (2, 2)
    clicked = np.zeros_like(cut)
    clicked[2, 2] = clicked[2, 3] = clicked[3, 2] = True
    assert interior_point(cut, clicked) == (3, 3, pytest.approx(math.sqrt(5)))


def test_first_click_is_in_the_middle_of_the_largest_part():
    target = draw("""
        ##.......
        ##.......
        ...#####.
        ...#####.
        ...#####.
        ...#####.
        ...#####.
    """)
    nothing = np.zeros_like(target)
    assert standard_click(nothing, target, nothing) == Click(4, 5, positive=True)


@pytest.mark.parametrize("value", [False, True])
def test_nothing_mislabeled_nothing_clicked(value):
    mask = np.full((7, 7), value)
    assert standard_click(mask, mask, np.zeros_like(mask)) is None


def test_a_region_of_one_pixel_is_clicked_once():
    target, clicked = np.zeros((7, 7), bool), np.zeros((7, 7), bool)
    target[3, 4] = True
    assert standard_click(clicked, target, clicked) == Click(3, 4, positive=True)
    clicked[3, 4] = True
    assert standard_click(np.zeros((7, 7), bool), target, clicked) is None


def test_an_empty_target_gets_a_negative_click():
    prediction = np.ones((7, 7), bool)
    nothing = np.zeros((7, 7), bool)
    assert standard_click(prediction, nothing, nothing) == Click(3, 3, positive=False)


def test_shapes_must_agree():
    with pytest.raises(InputError, match="differ in shape"):
        standard_click(np.zeros((3, 3)), np.zeros((3, 4)), np.zeros((3, 3)))
