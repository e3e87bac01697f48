"""Training plays sessions: what the network learns from is what a session would ask it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from synthetic import rgb_blob
from trainees import Picture, blob_pictures, quick_config

from activefreq.clicks import Click
from activefreq.models.config import SessionConfig
from activefreq.models.inference import is_prepared
from activefreq.session.automatic import automatic_answer
from activefreq.session.segmenter import InteractiveSegmenter
from activefreq.session.state import SessionState, prepare_image
from activefreq.session.step import coarse_question, step
from activefreq.training import objective
from activefreq.training.augmentation import AugmentationConfig
from activefreq.training.batches import Mixture, make_batch
from activefreq.training.clicking import ClickSamplingConfig
from activefreq.training.config import LossConfig
from activefreq.training.modes import evaluating
from activefreq.training.objective import Exercise, covered, make_exercise
from activefreq.training.rehearsal import Rehearsal, begin, go_on
from activefreq.training.start import initial_model

CENTRAL = ClickSamplingConfig(single_share=1.0, central_share=1.0)


def test_a_rehearsal_is_the_session_of_the_same_clicks():
    config = quick_config()
    model = initial_model(config)
    network = model.at_size(64)
    picture = blob_pictures(1)[0]
    image, rng = prepare_image(picture.image), np.random.default_rng(0)
    rehearsal = begin(image, picture.target, rng, CENTRAL)
    with evaluating(model):
        for _ in range(4):
            rehearsal = go_on(network, [rehearsal], [rng], CENTRAL, SessionConfig())[0]
    segmenter = InteractiveSegmenter(model)
    segmenter.set_image(picture.image)
    for click in rehearsal.state.clicks:
        segmenter.click(click.y, click.x, click.positive)
    assert len(rehearsal.state.clicks) == 4
    np.testing.assert_allclose(segmenter.result.probability, rehearsal.state.probability, atol=1e-4)
    # The click that is to be answered lies on an error of that mask.
    assert rehearsal.click.positive != segmenter.result.mask[rehearsal.click.y, rehearsal.click.x]
    assert picture.target[rehearsal.click.y, rehearsal.click.x] == rehearsal.click.positive


def test_several_first_clicks_have_no_answer_yet():
    picture = blob_pictures(1)[0]
    several = ClickSamplingConfig(single_share=0.0, positives=4, negatives=3)
    counts = set()
    for seed in range(20):
        rehearsal = begin(prepare_image(picture.image), picture.target, np.random.default_rng(seed), several)
        assert not rehearsal.state.probability.any()
        counts.add(len(rehearsal.state.clicks))
    assert max(counts) > 2


def test_a_perfect_mask_stays_where_it_was():
    model = initial_model(quick_config())
    picture = blob_pictures(1)[0]
    image = prepare_image(picture.image)
    everything = np.ones(image.shape, bool)
    # Whatever the network says to this, the mask that was given is perfect but for the component under the click.
    given_mask = SessionState.start(image.shape, everything)
    rehearsal = Rehearsal(image, everything, given_mask, Click(5, 5))
    with evaluating(model):
        assert go_on(model, [rehearsal], [np.random.default_rng(0)], CENTRAL, SessionConfig()) == [rehearsal]


def test_the_exercise_is_what_the_session_asks():
    view = AugmentationConfig(
        whole_share=1.0, scale=(1.0, 1.0), rotation=0.0, flip=False, brightness=0.0, contrast=0.0, saturation=0.0
    )
    config = quick_config(
        rounds=(0.0, 0.0, 1.0), clicks=CENTRAL, augmentation=view, batch_size=1, target_expansion=(1.5, 1.5)
    )
    model = initial_model(config)
    pictures = blob_pictures(1)
    batch = make_batch(Mixture([pictures]), config, 4)
    exercise = make_exercise(model, batch, config, torch.device("cpu"))

    session = SessionConfig(target_expansion=1.5)
    image = prepare_image(batch.views[0].image)
    rng = np.random.default_rng(batch.seeds[0])
    rehearsal = begin(image, batch.views[0].target, rng, CENTRAL)
    states = [rehearsal.state]
    with evaluating(model):
        for _ in range(2):
            states.append(step(model, [(image, rehearsal.state, rehearsal.click)], session)[0])
            rehearsal = go_on(model, [rehearsal], [rng], CENTRAL, session)[0]
    question = coarse_question(image, states[-1], rehearsal.click, model.config, session)
    torch.testing.assert_close(exercise.images, question.rgb)
    torch.testing.assert_close(exercise.prompt, question.prompt)
    assert torch.equal(exercise.targets, covered(batch.views[0].target[question.crop.slices], 64))
    assert len(states[-1].clicks) == 2


def _first_clicks(closer_share: float, expansion: float) -> tuple[Exercise, list[SessionState]]:
    """An exercise of first clicks on small blobs in wide views, and the states after them."""
    config = quick_config(
        rounds=(1.0,),
        clicks=CENTRAL,
        target_expansion=(expansion, expansion),
        closer_share=closer_share,
        augmentation=AugmentationConfig(whole_share=1.0, detail=4.0),
    )
    model = initial_model(config)
    # A network that sees nothing: its answer is the pixel that was clicked on.
    with torch.no_grad():
        model.backbone.classifier.weight.zero_()
        model.backbone.classifier.bias.fill_(-9.0)
    pictures = [Picture(*rgb_blob(seed, (160, 200))) for seed in range(4)]
    batch = make_batch(Mixture([pictures]), config, 3)
    session = SessionConfig(refine=False, target_minimum=40.0)
    exercise = make_exercise(model, batch, config, torch.device("cpu"), session)
    begun = [
        begin(prepare_image(view.image), view.target, np.random.default_rng(seed), CENTRAL)
        for view, seed in zip(batch.views, batch.seeds, strict=True)
    ]
    with evaluating(model):
        return exercise, step(model, [(one.image, one.state, one.click) for one in begun], session)


def test_a_first_click_is_learned_from_as_it_is_first_seen_or_as_it_is_looked_at_again():
    (first, states), (second, _) = _first_clicks(0.0, 1.5), _first_clicks(1.0, 1.5)
    assert all(len(state.clicks) == 1 for state in states)
    # At first nothing was answered yet, and all of the view is seen; then the answer is there, and its crop is seen.
    assert not first.prompt[:, 0].any()
    assert bool((second.prompt[:, 0].amax((1, 2)) > 0).all())
    assert bool((second.targets.mean((1, 2, 3)) > first.targets.mean((1, 2, 3))).all())
    assert not torch.equal(first.images, second.images)


def test_there_is_nothing_to_look_at_again_where_the_session_would_not():
    (first, _), (second, _) = _first_clicks(0.0, 999.0), _first_clicks(1.0, 999.0)
    torch.testing.assert_close(first, second)


def test_without_a_click_it_learns_what_the_automatic_answer_is_asked():
    config = quick_config(
        rounds=(1.0,),
        closer_share=0.0,
        unprompted_share=1.0,
        losses=LossConfig(click=4.0),
        augmentation=AugmentationConfig(whole_share=1.0),
    )
    model = initial_model(config)
    batch = make_batch(Mixture([blob_pictures(4)]), config, 4)
    exercise = make_exercise(model, batch, config, torch.device("cpu"))
    asked = []
    model.coarse = lambda rgb, prompt: asked.append((rgb, prompt)) or type(model).coarse(model, rgb, prompt)
    with evaluating(model):
        for view in batch.views:
            automatic_answer(model, prepare_image(view.image))
    torch.testing.assert_close(exercise.images, torch.cat([rgb for rgb, _ in asked]))
    assert torch.equal(exercise.prompt, torch.cat([prompt for _, prompt in asked]))
    assert not exercise.prompt.any()
    assert not exercise.disks.any()
    # No pixel counts more than others where nothing was clicked on.
    assert not exercise.emphasis.any()
    assert torch.equal(exercise.targets, torch.cat([covered(view.target, 64) for view in batch.views]))


def test_the_target_crops_grow_with_the_setting():
    picture = Picture(*(array.repeat(4, axis=0).repeat(4, axis=1) for array in rgb_blob(0)))
    shares = []
    for expansion in (1.0, 3.0):
        config = quick_config(
            rounds=(0.0, 1.0),
            clicks=ClickSamplingConfig(single_share=1.0, central_share=0.0),
            target_expansion=(expansion, expansion),
            augmentation=AugmentationConfig(whole_share=1.0, detail=4.0),
        )
        model = initial_model(config)
        # A network that sees nothing: what is in the mask is what was clicked on.
        with torch.no_grad():
            model.backbone.classifier.weight.zero_()
            model.backbone.classifier.bias.fill_(-9.0)
        batch = make_batch(Mixture([[picture] * 4]), config, 3)
        session = SessionConfig(refine=False, target_minimum=8.0)
        targets = make_exercise(model, batch, config, torch.device("cpu"), session).targets
        shares.append(targets.mean((1, 2, 3)))
    near, far = shares
    assert (near >= far).all()
    assert near.mean() > far.mean()


def test_sessions_are_played_by_a_faster_copy_that_answers_the_same(monkeypatch):
    config = quick_config(rounds=(0.0, 0.0, 1.0))
    model = initial_model(config)
    batch = make_batch(Mixture([[Picture(*rgb_blob(0))] * 4]), config, 0)
    asked = []
    plain_go_on = objective.go_on
    monkeypatch.setattr(objective, "go_on", lambda model, *rest: asked.append(model) or plain_go_on(model, *rest))
    fast = make_exercise(model, batch, config, torch.device("cpu"))
    assert len(asked) == 2
    assert all(is_prepared(one) for one in asked)
    monkeypatch.setattr(objective, "_answering", lambda network, *_: network)
    slow = make_exercise(model, batch, config, torch.device("cpu"))
    assert not any(is_prepared(one) for one in asked[2:])
    torch.testing.assert_close(fast.prompt, slow.prompt, atol=1e-4, rtol=0)
    assert float(fast.prompt[:, 0].amax()) > 0


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000))
def test_a_covered_mask_never_vanishes(height, width, side, seed):
    mask = np.random.default_rng(seed).random((height, width)) > 0.8
    answer = covered(mask, side)
    assert answer.shape == (1, 1, side, side)
    assert set(answer.unique().tolist()) <= {0.0, 1.0}
    assert bool(answer.any()) == bool(mask.any())


def test_a_covered_mask_is_the_mask_on_its_own_pixels_and_enlarged():
    mask = np.random.default_rng(0).random((12, 12)) > 0.5
    np.testing.assert_array_equal(covered(mask, 12)[0, 0].numpy() > 0.5, mask)
    block = np.zeros((8, 8), bool)
    block[2:6, 4:8] = True
    np.testing.assert_array_equal(covered(block, 16)[0, 0].numpy() > 0.5, block.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("expansion", [(0.5, 2.0), (2.0, 1.5)])
def test_a_wrong_range_of_crops_is_named(expansion):
    with pytest.raises(ValueError, match="target_expansion"):
        quick_config(target_expansion=expansion)
