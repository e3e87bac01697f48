from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tiny import make_tiny_model

from activefreq.clicks import Click
from activefreq.errors import InputError
from activefreq.models.coarse import CoarseOutput
from activefreq.models.config import SessionConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.session import SessionState, prepare_image
from activefreq.session.mirrors import ask_coarse, ask_refiner
from activefreq.session.step import step

SIDE = 64


@pytest.fixture(scope="module")
def model() -> InteractiveModel:
    return make_tiny_model(0).eval()


@pytest.fixture(scope="module")
def maps() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, 3, SIDE, SIDE, generator=generator), torch.rand(1, 3, SIDE, SIDE, generator=generator)


def test_one_view_is_the_networks_own_answer(model, maps) -> None:
    image, prompt = maps
    boxes = torch.tensor([[0.1, 0.2, 0.7, 0.9]])
    with torch.inference_mode():
        logits, answers = ask_coarse(model, image, prompt, 1)
        own = model.coarse(image, prompt)
        torch.testing.assert_close(logits, own.logits, rtol=0, atol=0)
        refined = ask_refiner(model, image, prompt[:, :2], answers, boxes)
        torch.testing.assert_close(refined, model.refine(image, prompt[:, :2], own, boxes).logits, rtol=0, atol=0)


@pytest.mark.parametrize(("views", "axes"), [(2, (3,)), (4, (3,)), (4, (2,)), (4, (2, 3))])
def test_the_answer_to_a_mirrored_question_is_the_mirrored_answer(model, maps, views, axes) -> None:
    image, prompt = maps
    boxes = torch.tensor([[0.125, 0.25, 0.625, 0.875]])
    mirrored = boxes.clone()
    if 2 in axes:
        mirrored[:, [0, 2]] = 1 - boxes[:, [2, 0]]
    if 3 in axes:
        mirrored[:, [1, 3]] = 1 - boxes[:, [3, 1]]
    with torch.inference_mode():
        # The network itself does not have that property.
        alone = model.coarse(image.flip(axes), prompt.flip(axes)).logits.flip(axes)
        assert (alone - model.coarse(image, prompt).logits).abs().max() > 1e-3
        logits, answers = ask_coarse(model, image, prompt, views)
        other, others = ask_coarse(model, image.flip(axes), prompt.flip(axes), views)
        torch.testing.assert_close(other.flip(axes), logits, rtol=1e-4, atol=1e-5)
        refined = ask_refiner(model, image, prompt[:, :2], answers, boxes)
        again = ask_refiner(model, image.flip(axes), prompt[:, :2].flip(axes), others, mirrored)
        torch.testing.assert_close(again.flip(axes), refined, rtol=1e-4, atol=1e-5)


def test_the_mean_is_of_logits_the_right_way_round() -> None:
    class Falling:
        """Answers a ramp from left to right, whatever it is shown."""

        def coarse(self, image: torch.Tensor, prompt: torch.Tensor) -> CoarseOutput:
            ramp = torch.arange(4.0).expand(1, 1, 4, 4)
            return CoarseOutput(ramp, ramp)

    logits, answers = ask_coarse(Falling(), torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4), 2)  # type: ignore[arg-type]
    torch.testing.assert_close(logits, torch.full((1, 1, 4, 4), 1.5))
    assert [answer.logits[0, 0, 0].tolist() for answer in answers] == [[0.0, 1.0, 2.0, 3.0]] * 2


def test_a_session_in_mirror_images(model) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    config = SessionConfig(target_expansion=1000.0, closer_look=0.0, refine=False, mirrors=4)
    clicks = [Click(20, 11), Click(40, 50, False), Click(31, 8)]

    def answer(image: np.ndarray, clicks: list[Click], config: SessionConfig) -> SessionState:
        state = SessionState.start((SIDE, SIDE))
        for click in clicks:
            state = step(model, [(prepare_image(image), state, click)], config)[0]
        return state

    straight = answer(pixels, clicks, config)
    turned = answer(
        np.ascontiguousarray(pixels[:, ::-1]), [dataclasses.replace(c, x=SIDE - 1 - c.x) for c in clicks], config
    )
    np.testing.assert_allclose(turned.probability[:, ::-1], straight.probability, atol=1e-4)
    single = answer(pixels, clicks, dataclasses.replace(config, mirrors=1))
    assert np.abs(single.probability - straight.probability).max() > 1e-3


@pytest.mark.parametrize("mirrors", [0, 3, 8, -1])
def test_impossible_numbers_of_views_are_named(mirrors: int) -> None:
    with pytest.raises(InputError, match=f"mirrors must be 1, 2 or 4, not {mirrors}"):
        SessionConfig(mirrors=mirrors)
