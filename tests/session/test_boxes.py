from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activefreq.clicks import Click
from activefreq.session.boxes import (
    Box,
    bounding_box,
    changed_component,
    focus_box,
    target_box,
    whole,
)


@st.composite
def boxes_in_images(draw: st.DrawFn) -> tuple[Box, tuple[int, int]]:
    height, width = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    return Box(top, left, draw(st.integers(top + 1, height)), draw(st.integers(left + 1, width))), (height, width)


@given(boxes_in_images(), st.floats(1.0, 4.0), st.floats(0.0, 100.0))
def test_a_grown_box_holds_the_old_one_lies_inside_and_has_its_size(
    case: tuple[Box, tuple[int, int]], factor: float, minimum: float
) -> None:
    box, shape = case
    grown = box.expanded(factor, minimum, shape)
    assert 0 <= grown.top <= box.top
    assert box.bottom <= grown.bottom <= shape[0]
    assert 0 <= grown.left <= box.left
    assert box.right <= grown.right <= shape[1]
    assert grown.height == min(max(np.ceil(box.height * factor), np.ceil(minimum)), shape[0])
    assert grown.width == min(max(np.ceil(box.width * factor), np.ceil(minimum)), shape[1])


def test_growing_is_about_the_centre_and_shifts_inwards_at_the_border() -> None:
    assert Box(40, 40, 60, 60).expanded(1.5, 0, (100, 100)) == Box(35, 35, 65, 65)
    assert Box(0, 90, 10, 100).expanded(2.0, 0, (100, 100)) == Box(0, 80, 20, 100)


def test_a_moved_box_keeps_its_size() -> None:
    assert Box(1, 2, 5, 9).moved(10, -1) == Box(11, 1, 15, 8)


def test_bounding_box() -> None:
    mask = np.zeros((5, 7), bool)
    assert bounding_box(mask) is None
    mask[2, 3] = mask[3, 6] = True
    assert bounding_box(mask) == Box(2, 3, 4, 7)
    assert mask[Box(2, 3, 4, 7).slices].shape == (2, 4)


def test_contains() -> None:
    box = Box(2, 3, 4, 7)
    assert box.contains(2, 3)
    assert box.contains(3, 6)
    assert not box.contains(4, 3)
    assert not box.contains(2, 7)


def test_the_target_is_the_whole_image_while_the_mask_is_empty() -> None:
    empty = np.zeros((50, 80), bool)
    for clicks in ([Click(3, 4)], [Click(3, 4), Click(40, 70)], [Click(3, 4, False)]):
        assert target_box(empty, clicks, expansion=1.4, minimum=10) == whole((50, 80))


def test_the_target_holds_mask_positive_clicks_and_the_last_click() -> None:
    mask = np.zeros((200, 200), bool)
    mask[100:110, 100:120] = True
    ignored, positive, last = Click(0, 0, False), Click(90, 130), Click(115, 100, False)
    box = target_box(mask, [ignored, positive, last], expansion=1.0, minimum=1)
    assert box == Box(90, 100, 116, 131)
    assert target_box(mask, [positive], expansion=1.4, minimum=64) == Box(68, 84, 132, 148)


def test_the_changed_component_is_eight_connected_and_holds_the_click() -> None:
    before = np.zeros((6, 6), bool)
    after = before.copy()
    after[0, 0] = after[1, 1] = after[2, 2] = True  # a diagonal
    after[5, 5] = True
    component = changed_component(before, after, Click(1, 1))
    assert np.argwhere(component).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert np.argwhere(changed_component(before, after, Click(5, 5))).tolist() == [[5, 5]]


def test_removed_pixels_are_changed_pixels() -> None:
    before = np.ones((4, 4), bool)
    after = before.copy()
    after[1:3, 1:3] = False
    assert changed_component(before, after, Click(2, 2, False)).sum() == 4


@pytest.mark.parametrize("click", [Click(0, 0), Click(3, 3, False)])
def test_an_unchanged_pixel_has_no_changed_component(click: Click) -> None:
    """FocalClick returns the component of the *unchanged* pixels here."""
    before = np.zeros((6, 6), bool)
    after = before.copy()
    after[5, 5] = True
    assert not changed_component(before, after, click).any()


def test_a_large_change_is_the_focus() -> None:
    before = np.zeros((100, 100), bool)
    after = before.copy()
    after[20:60, 30:70] = True
    focus = focus_box(before, after, Click(40, 50), whole((100, 100)), expansion=1.5, share=0.2)
    assert focus == Box(10, 20, 70, 80)


def test_a_small_change_gets_a_window_of_the_objects_size_around_the_click() -> None:
    before = np.zeros((200, 200), bool)
    before[50:150, 50:150] = True
    after = before.copy()
    after[48:50, 100:102] = True
    focus = focus_box(before, after, Click(49, 100), whole((200, 200)), expansion=1.0, share=0.2)
    assert focus == Box(29, 80, 70, 121)  # 20 on either side: 0.2 of 102 pixels


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 60),
    st.integers(1, 60),
    st.floats(0.0, 1.0),
)
def test_the_focus_lies_in_the_target_and_holds_the_click(seed: int, height: int, width: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    before = rng.random((height, width)) < rng.choice([0, 0.1, 0.6])
    after = rng.random((height, width)) < rng.choice([0, 0.1, 0.6])
    click = Click(int(rng.integers(height)), int(rng.integers(width)))
    target = target_box(before, [click], expansion=1.4, minimum=4)
    focus = focus_box(before, after, click, target, expansion=1.4, share=share)
    assert target.top <= focus.top < focus.bottom <= target.bottom
    assert target.left <= focus.left < focus.right <= target.right
    assert focus.contains(click.y, click.x)
