from __future__ import annotations

import numpy as np
import pytest

from activefreq.clicks import Click
from activefreq.errors import InputError
from activefreq.session import SessionState, prepare_image
from activefreq.session.cache import ENTRY_BYTES

MASK = np.array([[True, False, False], [False, True, True]])


def test_a_session_begins_empty() -> None:
    state = SessionState.start((2, 3))
    assert state.clicks == ()
    assert state.mask.shape == (2, 3)
    assert not state.mask.any()
    assert not state.progressive


@pytest.mark.parametrize(
    "mask",
    [MASK, MASK[..., None], MASK.astype(np.uint8) * 255, MASK.astype(np.int64) * 7, MASK.astype(np.float32)],
    ids=["bool", "one channel", "255", "label", "float"],
)
def test_a_mask_is_taken_in_any_usual_form(mask: np.ndarray) -> None:
    state = SessionState.start((2, 3), mask)
    np.testing.assert_array_equal(state.mask, MASK)
    np.testing.assert_array_equal(state.probability, MASK.astype(np.float32))
    assert state.progressive


def test_an_empty_mask_is_no_mask() -> None:
    assert not SessionState.start((2, 3), np.zeros((2, 3), bool)).progressive


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (MASK.T, r"shape \(3, 2\), but the image has \(2, 3\)"),
        (np.zeros((2, 3, 2)), r"shape \(2, 3, 2\)"),
        (np.full((2, 3), 0.5), "0 and 1"),
        (np.full((2, 3), np.nan), "0 and 1"),
        (np.full((2, 3), "a"), "0 and 1"),
    ],
)
def test_what_is_no_mask_is_named(mask: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SessionState.start((2, 3), mask)


def test_foreground_is_strictly_above_one_half() -> None:
    probability = np.array([[0.5, np.nextafter(np.float32(0.5), np.float32(1))]], np.float32)
    assert SessionState((), probability, progressive=False).mask.tolist() == [[False, True]]


def test_states_and_images_cannot_be_written_to() -> None:
    mask = MASK.copy()
    state = SessionState.start((2, 3), mask)
    image = prepare_image(np.zeros((2, 3, 3), np.uint8))
    for array in (state.probability, image.rgb):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
    mask[:] = False
    np.testing.assert_array_equal(state.mask, MASK)


def test_a_prepared_image_does_not_follow_its_source() -> None:
    source = np.random.default_rng(0).random((4, 5, 3)).astype(np.float32)
    image = prepare_image(source)
    kept = image.rgb.copy()
    source[:] = 0
    np.testing.assert_array_equal(image.rgb, kept)
    assert image.shape == (4, 5)


def test_what_is_held_counts_pixels_clicks_and_an_overhead() -> None:
    empty = SessionState.start((20, 30))
    assert empty.bytes_held == 20 * 30 * 4 + ENTRY_BYTES
    clicked = SessionState((Click(0, 0),) * 50, empty.probability, progressive=False)
    assert clicked.bytes_held >= empty.bytes_held + 50 * 100
    assert prepare_image(np.zeros((2, 3), np.uint8)).bytes_held == 2 * 3 * 3 * 4 + ENTRY_BYTES
