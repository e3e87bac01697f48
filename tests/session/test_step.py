from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from canned import WHOLE, CannedModel, block
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from activefreq.clicks import Click
from activefreq.errors import InputError
from activefreq.models.config import SessionConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.session import PreparedImage, SessionState, prepare_image
from activefreq.session.step import step

SIDE = 32
EMPTY = np.zeros((SIDE, SIDE), bool)
IMAGE = prepare_image(np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8))


def start(mask: np.ndarray | None = None) -> SessionState:
    return SessionState.start((SIDE, SIDE), mask)


def answer(
    model: CannedModel, state: SessionState, *clicks: Click, config: SessionConfig = WHOLE, image: PreparedImage = IMAGE
) -> SessionState:
    for click in clicks:
        state = step(model, [(image, state, click)], config)[0]
    return state


def test_no_requests_give_no_states() -> None:
    assert step(CannedModel([EMPTY]), []) == []


def test_the_networks_mask_is_the_answer() -> None:
    mask = block(SIDE, 4, 5, 20, 21)
    state = answer(CannedModel([mask]), start(), Click(10, 10))
    np.testing.assert_array_equal(state.mask, mask)
    assert state.probability.dtype == np.float32
    assert state.clicks == (Click(10, 10),)
    assert not state.probability.flags.writeable


@pytest.mark.parametrize(("everything", "positive"), [(EMPTY, True), (~EMPTY, False)])
def test_a_click_makes_its_own_pixel_right_and_no_other_against_the_network(
    everything: np.ndarray, positive: bool
) -> None:
    state = answer(CannedModel([everything]), start(), Click(7, 9, positive))
    assert state.mask[7, 9] == positive
    assert (state.mask != everything).sum() == 1


def test_earlier_clicks_stay_true() -> None:
    clicks = (Click(3, 3), Click(20, 20, False), Click(28, 2))
    state = answer(CannedModel([EMPTY, ~EMPTY, EMPTY]), start(), *clicks)
    for click in clicks:
        assert state.mask[click.y, click.x] == click.positive


def test_of_two_clicks_on_a_pixel_the_last_one_counts() -> None:
    state = answer(CannedModel([EMPTY, EMPTY]), start(), Click(3, 3), Click(3, 3, False))
    assert not state.mask[3, 3]
    state = answer(CannedModel([~EMPTY, ~EMPTY]), start(), Click(3, 3, False), Click(3, 3))
    assert state.mask[3, 3]


def test_a_click_whose_pixel_did_not_change_toggles_nothing_else() -> None:
    """FocalClick labels the map of changes with zeros as a region too, and so merges the unchanged region."""
    given_mask = block(SIDE, 4, 4, 12, 12)
    elsewhere = given_mask | block(SIDE, 20, 20, 28, 28)
    state = answer(CannedModel([elsewhere]), start(given_mask), Click(8, 8))
    np.testing.assert_array_equal(state.mask, given_mask)
    state = answer(CannedModel([elsewhere]), start(given_mask), Click(16, 4, False))
    np.testing.assert_array_equal(state.mask, given_mask)


def test_an_unheeded_click_changes_its_own_pixel_only() -> None:
    given_mask = block(SIDE, 4, 4, 12, 12)
    state = answer(CannedModel([given_mask]), start(given_mask), Click(20, 20))
    assert np.argwhere(state.mask != given_mask).tolist() == [[20, 20]]


def test_a_move_against_the_click_is_not_taken() -> None:
    given_mask = block(SIDE, 4, 4, 12, 12)
    state = answer(CannedModel([EMPTY]), start(given_mask), Click(8, 8))
    np.testing.assert_array_equal(state.mask, given_mask)


def test_with_a_given_mask_only_the_component_under_the_click_changes() -> None:
    given_mask = block(SIDE, 4, 4, 12, 12)
    grown = block(SIDE, 4, 4, 16, 16)
    far = block(SIDE, 24, 24, 30, 30)
    state = answer(CannedModel([grown | far]), start(given_mask), Click(14, 14))
    np.testing.assert_array_equal(state.mask, grown)
    untouched = ~(grown & ~given_mask)
    np.testing.assert_array_equal(state.probability[untouched], given_mask[untouched].astype(np.float32))


def test_without_a_given_mask_everything_may_change() -> None:
    first, second = block(SIDE, 4, 4, 12, 12), block(SIDE, 4, 4, 16, 16) | block(SIDE, 24, 24, 30, 30)
    state = answer(CannedModel([first, second]), start(), Click(8, 8), Click(14, 14))
    np.testing.assert_array_equal(state.mask, second)


def test_the_network_is_shown_the_merged_mask() -> None:
    """FocalClick crops by the merged mask but shows the network its own, unmerged one."""
    given_mask = block(SIDE, 4, 4, 12, 12)
    model = CannedModel([block(SIDE, 4, 4, 16, 16) | block(SIDE, 24, 24, 30, 30), EMPTY])
    state = answer(model, start(given_mask), Click(14, 14))
    answer(model, state, Click(2, 2, False))
    np.testing.assert_array_equal(model.prompts[0][0], given_mask.astype(np.float32))
    np.testing.assert_array_equal(model.prompts[1][0] > 0.5, block(SIDE, 4, 4, 16, 16))


def test_the_network_is_shown_all_clicks_where_they_are() -> None:
    model = CannedModel([EMPTY, EMPTY])
    answer(model, start(), Click(3, 30), Click(16, 0, False))
    positives, negatives = model.prompts[1][1:]
    assert np.argwhere(positives).tolist() == [[2, 30], [3, 29], [3, 30], [3, 31], [4, 30]]
    assert np.argwhere(negatives).tolist() == [[15, 0], [16, 0], [16, 1], [17, 0]]


def test_the_refine_pass_redraws_its_focus_box_only() -> None:
    mask = block(SIDE, 4, 4, 28, 28)
    model = CannedModel([mask, mask], refined=~EMPTY)
    config = SessionConfig(target_expansion=1000.0)
    state = answer(model, start(mask), Click(0, 0), config=config)
    top, left, bottom, right = np.rint(model.boxes[0] * SIDE).astype(int)
    assert (top, left) == (0, 0)
    assert bottom < 20
    assert right < 20
    # Positive everywhere in the box: the component that joins the click is what may change.
    expected = mask | block(SIDE, top, left, bottom, right)
    np.testing.assert_array_equal(state.mask, expected)


def test_after_ten_clicks_a_click_acts_inside_its_focus_box_only() -> None:
    mask = block(SIDE, 2, 2, 30, 30)
    clicks = [Click(16, 16 + offset) for offset in range(11)]
    config = SessionConfig(target_expansion=1000.0)
    state = answer(CannedModel([mask] * 10), start(), *clicks[:10], config=config)
    model = CannedModel([EMPTY])
    after = answer(model, state, Click(16, 14, False), config=SessionConfig(target_expansion=1000.0, focus_share=0.1))
    np.testing.assert_array_equal(model.boxes[0], (0, 0, 1, 1))  # everything changed, so everything is in focus
    assert after.mask.sum() == 10

    shrunk = mask & ~block(SIDE, 12, 10, 20, 14)
    model = CannedModel([shrunk & ~block(SIDE, 28, 28, 32, 32)])
    after = answer(model, state, Click(16, 12, False), config=config)
    np.testing.assert_array_equal(after.mask, shrunk)
    top, left, bottom, right = np.rint(model.boxes[0] * SIDE).astype(int)
    outside = ~block(SIDE, top, left, bottom, right)
    np.testing.assert_array_equal(after.probability[outside], state.probability[outside])


@pytest.mark.parametrize("positive", [True, False])
def test_from_the_third_click_on_a_click_changes_labels_its_own_way_only(positive: bool) -> None:
    before, after = block(SIDE, 4, 4, 20, 20), block(SIDE, 8, 8, 28, 28)
    y, x = (24, 24) if positive else (5, 5)
    model = CannedModel([before, before, after])
    state = answer(model, start(), Click(12, 12), Click(13, 13), Click(y, x, positive))
    np.testing.assert_array_equal(state.mask, before | after if positive else before & after)
    # The second click may still do both.
    state = answer(CannedModel([before, after]), start(), Click(12, 12), Click(y, x, positive))
    np.testing.assert_array_equal(state.mask, after)


SMALL = SessionConfig(target_expansion=2.0, target_minimum=8.0, refine=False, closer_look=0.5)


def test_a_small_answer_to_the_first_click_is_looked_at_again_in_its_crop() -> None:
    found = block(SIDE, 4, 4, 8, 8)
    model = CannedModel([found, ~EMPTY])
    state = answer(model, start(), Click(5, 5), config=SMALL)
    assert len(model.prompts) == 2
    # The second look is at 8 x 8 pixels around the first answer, which it is shown.
    np.testing.assert_array_equal(state.mask, found | block(SIDE, 2, 2, 10, 10))
    assert model.prompts[1][0].mean() == pytest.approx(16 / 64, abs=0.05)
    assert state.clicks == (Click(5, 5),)


def test_there_is_no_second_look_at_a_large_answer_or_after_the_first_or_if_it_is_not_wanted() -> None:
    small, large = block(SIDE, 4, 4, 8, 8), block(SIDE, 2, 2, 30, 30)
    model = CannedModel([large])
    answer(model, start(), Click(5, 5), config=SMALL)
    model = CannedModel([small])
    answer(model, start(), Click(5, 5), config=dataclasses.replace(SMALL, closer_look=0.0))
    model = CannedModel([small])
    answer(model, start(small), Click(5, 5), config=SMALL)
    model = CannedModel([EMPTY])
    answer(model, start(), Click(5, 5, False), config=SMALL)
    assert len(model.prompts) == 1


def test_a_second_look_that_sees_nothing_changes_nothing() -> None:
    found = block(SIDE, 4, 4, 8, 8)
    state = answer(CannedModel([found, EMPTY]), start(), Click(20, 20, False), config=SMALL)
    np.testing.assert_array_equal(state.mask, found)


def test_a_second_look_after_rejected_objects_takes_away_from_the_first_look_as_well() -> None:
    """One way is counted from the mask that was clicked on, which was empty, and not from the first look's."""
    first, second = block(SIDE, 4, 4, 12, 12), block(SIDE, 12, 12, 20, 20)
    model = CannedModel([EMPTY, EMPTY, first, second])
    state = answer(model, start(), Click(25, 25, False), Click(28, 28, False), Click(8, 8), config=SMALL)
    assert len(model.prompts) == 4
    # The crop is 16 x 16 pixels from (0, 0) on, so that what the second look sees is at (6, 6) to (10, 10).
    np.testing.assert_array_equal(state.mask, block(SIDE, 6, 6, 10, 10))


def test_a_progressive_session_takes_no_second_look() -> None:
    given = block(SIDE, 4, 4, 8, 8)
    model = CannedModel([EMPTY, given])
    state = answer(model, start(given), Click(5, 5, False), Click(5, 5), config=SMALL)
    assert len(model.prompts) == 2
    np.testing.assert_array_equal(state.mask, given)


@pytest.mark.parametrize("positive", [True, False])
def test_late_clicks_of_a_progressive_session_change_labels_their_own_way_only(positive: bool) -> None:
    given = block(SIDE, 8, 8, 20, 20)
    # Beside what the click is about lies, touching it, a change the other way.
    grown, shrunk = block(SIDE, 8, 8, 22, 20), block(SIDE, 8, 8, 18, 20)
    answered = (grown & ~block(SIDE, 8, 19, 20, 20)) if positive else (shrunk | block(SIDE, 8, 20, 18, 21))
    click = Click(20, 18) if positive else Click(19, 18, False)
    model = CannedModel([given, given, answered])
    state = answer(model, start(given), Click(10, 10), Click(11, 11), click)
    np.testing.assert_array_equal(state.mask, grown if positive else shrunk)


def test_a_click_outside_its_image_is_named_before_anything_is_computed() -> None:
    model = CannedModel([EMPTY])
    with pytest.raises(InputError, match=r"\(y=32, x=0\) is outside the image of 32 x 32"):
        step(model, [(IMAGE, start(), Click(0, 0)), (IMAGE, start(), Click(32, 0))])
    assert not model.prompts


positions = st.integers(0, SIDE - 1)


@given(
    seed=st.integers(0, 2**32 - 1),
    given_mask=st.booleans(),
    clicks=st.lists(st.builds(Click, positions, positions, st.booleans()), min_size=1, max_size=6),
)
def test_whatever_the_network_says_clicks_hold_and_untouched_pixels_are_identical(
    seed: int, given_mask: bool, clicks: list[Click]
) -> None:
    rng = np.random.default_rng(seed)
    answers = [rng.random((SIDE, SIDE)) < rng.random() for _ in clicks]
    state = start(rng.random((SIDE, SIDE)) < 0.3 if given_mask else None)
    model = CannedModel(answers)
    for click in clicks:
        before = state
        state = step(model, [(IMAGE, before, click)], WHOLE)[0]
        assert state.mask[click.y, click.x] == click.positive
        last = {(said.y, said.x): said.positive for said in state.clicks}
        assert all(state.mask[place] == positive for place, positive in last.items())
        if before.progressive:
            moved = state.mask != before.mask
            said = np.zeros((SIDE, SIDE), bool)
            said[tuple(zip(*last, strict=True))] = True
            np.testing.assert_array_equal(state.probability[~moved & ~said], before.probability[~moved & ~said])
            # A pixel that an earlier click holds may be a hole in the component.
            labels, _ = ndimage.label(moved | said, structure=np.ones((3, 3)))
            assert (moved & ~said & (labels != labels[click.y, click.x])).sum() == 0


def test_images_of_different_sizes_are_answered_as_if_alone(tiny_model: InteractiveModel) -> None:
    rng = np.random.default_rng(1)
    requests = []
    for shape in [(40, 60), (64, 64), (150, 33), (1, 7), (90, 90), (64, 64), (31, 200), (256, 256)]:
        image = prepare_image(rng.integers(0, 255, (*shape, 3), np.uint8))
        requests.append((image, SessionState.start(image.shape), Click(shape[0] // 2, shape[1] // 2)))
    together = step(tiny_model, requests)
    for request, state in zip(requests, together, strict=True):
        alone = step(tiny_model, [request])[0]
        np.testing.assert_array_equal(state.probability, alone.probability)
