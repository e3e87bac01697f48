from __future__ import annotations

import random
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from activefreq.clicks import Click
from activefreq.data.sample_studies import dermoscopy_like
from activefreq.errors import InputError
from activefreq.models.interactive import InteractiveModel
from activefreq.session import InteractiveSegmenter, prepare_image
from activefreq.session import replay as replay_module
from activefreq.session.cache import ENTRY_BYTES
from activefreq.session.replay import ClickReplay, next_is_positive
from activefreq.session.state import SessionState
from activefreq.session.step import step

SAMPLE = dermoscopy_like((96, 128))
IMAGE = prepare_image(SAMPLE.image)
POSITIVES = (Click(48, 64), Click(40, 80), Click(70, 50))
NEGATIVES = (Click(5, 5, False), Click(50, 60, False), Click(90, 120, False))


@pytest.fixture
def tiny(tiny_model: InteractiveModel) -> InteractiveSegmenter:
    return InteractiveSegmenter(tiny_model)


def test_a_click_that_corrects_the_mask_goes_first() -> None:
    mask = np.zeros((4, 4), bool)
    mask[:2] = True
    inside, outside = (0, 0), (3, 3)
    for positive, negative, expected in [
        (outside, outside, True),
        (inside, inside, False),
        (outside, inside, False),
        (inside, outside, False),
    ]:
        assert next_is_positive(mask, Click(*positive), Click(*negative, positive=False)) is expected


def test_the_answer_is_the_sessions_answer_to_the_clicks_in_the_order_found(tiny: InteractiveSegmenter) -> None:
    answer = ClickReplay(tiny).answer("a", IMAGE, POSITIVES, NEGATIVES)
    order = answer.state.clicks
    assert tuple(click for click in order if click.positive) == POSITIVES
    assert tuple(click for click in order if not click.positive) == NEGATIVES
    assert answer.passes == 6

    segmenter = InteractiveSegmenter(tiny.model)
    segmenter.set_image(SAMPLE.image)
    for click in order:
        result = segmenter.click(click.y, click.x, click.positive)
    np.testing.assert_array_equal(answer.state.probability, result.probability)
    np.testing.assert_array_equal(answer.state.mask, result.mask)


def test_every_choice_on_the_way_follows_the_rule(tiny: InteractiveSegmenter) -> None:
    order = ClickReplay(tiny).answer("a", IMAGE, POSITIVES, NEGATIVES).state.clicks
    segmenter = InteractiveSegmenter(tiny.model)
    segmenter.set_image(SAMPLE.image)
    left = {True: list(POSITIVES), False: list(NEGATIVES)}
    choices = 0
    for click in order:
        if left[True] and left[False]:
            choices += 1
            assert click.positive == next_is_positive(segmenter.result.mask, left[True][0], left[False][0])
        left[click.positive].pop(0)
        segmenter.click(click.y, click.x, click.positive)
    assert choices >= 3


def test_the_answer_does_not_depend_on_what_was_asked_before(tiny: InteractiveSegmenter) -> None:
    requests = [(POSITIVES[:p], NEGATIVES[:n]) for p in range(4) for n in range(4)]
    fresh = {request: ClickReplay(tiny).answer("a", IMAGE, *request).state.probability for request in requests}
    replay = ClickReplay(tiny)
    for request in random.Random(0).sample(requests * 3, 48):
        np.testing.assert_array_equal(replay.answer("a", IMAGE, *request).state.probability, fresh[request])


def test_a_further_click_costs_one_pass_and_a_repeated_request_none(tiny: InteractiveSegmenter) -> None:
    replay = ClickReplay(tiny)
    passes = [replay.answer("a", IMAGE, POSITIVES[:count], ()).passes for count in (1, 2, 3, 3, 2)]
    assert passes == [1, 1, 1, 0, 0]


def test_images_and_previous_masks_are_kept_apart(tiny: InteractiveSegmenter) -> None:
    replay = ClickReplay(tiny)
    other = prepare_image(dermoscopy_like((96, 128), seed=1).image)
    click = POSITIVES[:1]
    mask = SAMPLE.mask
    answers = [
        replay.answer("a", IMAGE, click, ()),
        replay.answer("b", other, click, ()),
        replay.answer("a", IMAGE, click, (), previous_mask=mask),
        replay.answer("a", IMAGE, click, (), previous_mask=~mask),
    ]
    assert [answer.passes for answer in answers] == [1, 1, 1, 1]
    segmenter = InteractiveSegmenter(tiny.model)
    expected = segmenter.predict(SAMPLE.image, list(click), previous_mask=mask)
    np.testing.assert_array_equal(answers[2].state.probability, expected.probability)


def test_no_click_leaves_the_previous_mask(tiny: InteractiveSegmenter) -> None:
    replay = ClickReplay(tiny)
    assert not replay.answer("a", IMAGE, (), ()).state.mask.any()
    kept = replay.answer("a", IMAGE, (), (), previous_mask=SAMPLE.mask)
    np.testing.assert_array_equal(kept.state.mask, SAMPLE.mask)
    assert kept.passes == 0


@pytest.mark.parametrize("states", [0, 1, 4])
def test_a_small_cache_costs_passes_and_changes_nothing(tiny: InteractiveSegmenter, states: int) -> None:
    # Of a state with six clicks: those with fewer are smaller, but not by so much that another one fits.
    bytes_of_a_state = SessionState((*POSITIVES, *NEGATIVES), np.zeros((96, 128), np.float32), False).bytes_held
    small = ClickReplay(tiny, cache_bytes=states * bytes_of_a_state)
    large = ClickReplay(tiny)
    for count in (1, 2, 3):
        mine = small.answer("a", IMAGE, POSITIVES[:count], NEGATIVES[:count])
        theirs = large.answer("a", IMAGE, POSITIVES[:count], NEGATIVES[:count])
        np.testing.assert_array_equal(mine.state.probability, theirs.state.probability)
        assert mine.passes >= theirs.passes
    # What is short of room keeps the beginnings.
    assert small.answer("a", IMAGE, POSITIVES, NEGATIVES).passes == 6 - states


def test_many_clicks_hold_no_more_states_than_the_cache_and_as_many_again(
    tiny: InteractiveSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: weakref.WeakSet[SessionState] = weakref.WeakSet()
    alive = []

    def counted(*arguments: Any) -> list[SessionState]:
        states = step(*arguments)
        made.update(states)
        alive.append(len(made))
        return states

    monkeypatch.setattr(replay_module, "step", counted)
    clicks = [Click(8 * number, 40) for number in range(12)]
    bytes_of_a_state = SessionState(tuple(clicks), np.zeros((96, 128), np.float32), False).bytes_held
    small = ClickReplay(tiny, cache_bytes=2 * bytes_of_a_state)
    answer = small.answer("a", IMAGE, clicks, ())
    # Two in the cache, two on the way, the one before and the new one.
    assert max(alive) <= 6
    np.testing.assert_array_equal(answer.state.probability, tiny.predict(SAMPLE.image, clicks).probability)
    assert [answer.passes, small.answer("a", IMAGE, clicks, ()).passes] == [12, 10]
    assert small.answer("a", IMAGE, clicks[:2], ()).passes == 0


def test_a_pixel_that_is_clicked_again_and_again_leaves_few_states(tiny: InteractiveSegmenter) -> None:
    pixel = prepare_image(np.zeros((1, 1), np.uint8))
    replay = ClickReplay(tiny, cache_bytes=4 * ENTRY_BYTES)
    for number in range(8):
        assert replay.answer(number, pixel, [Click(0, 0)], ()).passes == 1
    assert [replay.answer(number, pixel, [Click(0, 0)], ()).passes for number in (7, 6, 5, 0)] == [0, 0, 0, 1]


def test_a_click_outside_is_named_and_nothing_is_computed(tiny: InteractiveSegmenter) -> None:
    replay = ClickReplay(tiny)
    with pytest.raises(InputError, match=r"y=96, x=0"):
        replay.answer("a", IMAGE, (POSITIVES[0], Click(96, 0)), ())
    assert replay.answer("a", IMAGE, POSITIVES[:1], ()).passes == 1


def test_threads_share_the_work_and_get_the_same_answer(tiny: InteractiveSegmenter) -> None:
    replay = ClickReplay(tiny)
    expected = ClickReplay(tiny).answer("a", IMAGE, POSITIVES, NEGATIVES).state.probability
    answers: list[tuple[int, np.ndarray]] = []

    def work(positives: Sequence[Click], negatives: Sequence[Click]) -> None:
        answer = replay.answer("a", IMAGE, positives, negatives)
        answers.append((answer.passes, answer.state.probability))

    threads = [threading.Thread(target=work, args=(POSITIVES, NEGATIVES)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passes for passes, _ in answers) == 6
    for _, probability in answers:
        np.testing.assert_array_equal(probability, expected)


@pytest.mark.parametrize("signs", [(1, 1, 1, 0, 0, 0), (0, 0, 0, 1, 1, 1), (1, 0, 0, 1, 1, 0)])
def test_an_order_that_is_told_is_kept(tiny: InteractiveSegmenter, signs: tuple[bool, ...]) -> None:
    answer = ClickReplay(tiny).answer("a", IMAGE, POSITIVES, NEGATIVES, signs=signs)
    left = {True: list(POSITIVES), False: list(NEGATIVES)}
    clicks = [left[bool(sign)].pop(0) for sign in signs]
    assert list(answer.state.clicks) == clicks
    np.testing.assert_array_equal(answer.state.probability, tiny.predict(SAMPLE.image, clicks).probability)


def test_signs_that_do_not_fit_the_clicks_are_refused(tiny: InteractiveSegmenter) -> None:
    for signs in ((1, 1, 1), (1, 1, 1, 1, 0, 0)):
        with pytest.raises(InputError, match="3 positive and 3 negative clicks"):
            ClickReplay(tiny).answer("a", IMAGE, POSITIVES, NEGATIVES, signs=signs)
