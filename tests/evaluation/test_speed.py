from __future__ import annotations

import numpy as np
import pytest
import torch

from activefreq.acselect.regions import mislabeled_regions
from activefreq.evaluation.speed import (
    Rounds,
    click_scene,
    click_seconds,
    error_scene,
    matmul_gflops,
    measuring_seconds,
    policy_seconds,
)
from activefreq.models.focalclick import focalclick_segformer
from activefreq.models.inference import prepare_for_inference
from activefreq.models.interactive import InteractiveModel
from activefreq.session.step import step


def test_times_by_hand() -> None:
    one = Rounds(np.array([0.001, 0.002, 0.003, 0.004, 0.010]), np.array([0.001, 0.001, 0.002, 0.002, 0.002]))
    times = one.times
    assert (times.median, times.low, times.high, times.least) == pytest.approx((3, 2, 4, 1))
    assert times.processor == pytest.approx(2)


def test_quotients_are_of_the_same_round() -> None:
    """A slow round is slow for both."""
    first, second = np.array([1.0, 10.0, 2.0]), np.array([2.0, 20.0, 5.0])
    assert Rounds(first, second).quotient(Rounds(second, first)) == 0.5
    assert Rounds(first, second).processor_quotient(Rounds(second, first)) == 2.0


def test_networks_take_turns(tiny_model: InteractiveModel) -> None:
    seen = []
    models = {}
    for name in ("one", "two"):
        model = prepare_for_inference(tiny_model, torch.device("cpu"))
        model.register_forward_pre_hook(lambda *_: None)
        coarse = model.coarse
        model.coarse = lambda *maps, name=name, coarse=coarse: (seen.append(name), coarse(*maps))[1]
        models[name] = model
    measured = click_seconds(models, 64, rounds=3, warmup=1)
    assert seen == ["one", "two"] * 4
    for rounds in measured.values():
        assert rounds.clock.shape == rounds.processor.shape == (3,)
        assert (rounds.clock > 0).all()


@pytest.mark.parametrize("side", [256, 448])
def test_the_scene_is_a_click_beside_a_mask(side: int) -> None:
    image, state, click = click_scene(side)
    assert image.shape == state.mask.shape == (side, side)
    assert state.mask.mean() == 0.25
    assert not state.mask[click.y, click.x]


def test_errors_are_as_many_as_asked_for() -> None:
    probability, prediction, target = error_scene(96, 40)
    assert len(mislabeled_regions(prediction, target)) >= 40
    np.testing.assert_array_equal(probability > 0.5, prediction)
    assert policy_seconds(("standard", "acselect"), 96, 40, rounds=2).keys() == {"standard", "acselect"}
    assert measuring_seconds(96, 40, rounds=2).clock.shape == (2,)


def test_the_machines_rate_is_a_number() -> None:
    assert matmul_gflops(torch.float32, side=64) > 0


def test_focalclicks_network_answers_clicks_and_has_its_published_size() -> None:
    """3.719 M counts the side embedding of three channels; the refine layer has 16 thousand more."""
    model = focalclick_segformer()
    assert sum(parameter.numel() for parameter in model.backbone.parameters()) == pytest.approx(3.719e6, rel=0.001)
    state = step(model, [click_scene(64)])[0]
    assert state.probability.shape == (64, 64)
    assert np.isfinite(state.probability).all()
