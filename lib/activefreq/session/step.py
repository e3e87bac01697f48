"""One click on each of several images: crop, coarse pass, focus crop, refine pass, merge.

The first click is answered in a view of the whole image, where a small object has few pixels. So the network looks at
its answer again, in the crop that the second click would have, before anybody has to click twice.

Source: the paper's section 3.3, after FocalClick (Chen et al., CVPR 2022), without the defects of its code:
a click whose pixel did not change toggles nothing else, and what a click says about its own pixel always holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from activefreq.clicks import Click, check_clicks, click_disks
from activefreq.models.config import ModelConfig, SessionConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.models.prompts import PROMPT_CHANNELS
from activefreq.session.boxes import Box, changed_component, focus_box, target_box
from activefreq.session.mirrors import ask_coarse, ask_refiner
from activefreq.session.resampling import resample
from activefreq.session.state import THRESHOLD, PreparedImage, SessionState, read_only

Request = tuple[PreparedImage, SessionState, Click]


def step(
    model: InteractiveModel, requests: Sequence[Request], config: SessionConfig = SessionConfig()
) -> list[SessionState]:
    """Applies one click to each of several independent sessions.

    Each image goes through the network by itself: kernels round differently in batches of different sizes, and an
    answer must not depend on what else is asked at the same time.

    Args:
        model: In evaluation mode, on any device; from `prepare_for_inference`, its answers do not depend on the
            number of threads either.
        requests: (image, state, click), a session each; sizes may differ.

    Returns:
        The states after the clicks, in the same order.

    Raises:
        InputError: A click lies outside its image.
    """
    _check(requests)
    with torch.inference_mode():
        return [_answer(model, [request], config)[0] for request in requests]


def step_together(
    model: InteractiveModel, requests: Sequence[Request], config: SessionConfig = SessionConfig()
) -> list[SessionState]:
    """As `step`, all images in one batch: for training, where an answer's last digits may depend on its neighbours."""
    _check(requests)
    with torch.inference_mode():
        return _answer(model, requests, config)


def _check(requests: Sequence[Request]) -> None:
    for image, _, click in requests:
        check_clicks([click], image.shape)


class CoarseQuestion(NamedTuple):
    """What the coarse pass is asked: the target crop, and its pixels (1, 3, S, S) and prompt (1, 3, S, S)."""

    crop: Box
    rgb: torch.Tensor
    prompt: torch.Tensor


class RefineQuestion(NamedTuple):
    """What the refine pass is asked: the focus box, its pixels (1, 3, R, R), disks (1, 2, R, R), place (1, 4)."""

    focus: Box
    rgb: torch.Tensor
    disks: torch.Tensor
    fraction: torch.Tensor


def coarse_question(
    image: PreparedImage, state: SessionState, click: Click, shape: ModelConfig, config: SessionConfig
) -> CoarseQuestion:
    """The target crop around mask and clicks, as the network sees it, with the answer so far."""
    clicks = (*state.clicks, click)
    crop = _target_crop(state.mask, clicks, config)
    side = shape.input_size
    previous = _crop(state.probability[..., None], crop, side)
    prompt = torch.cat([previous, _disks(clicks, crop, side, shape.disk_radius)], dim=1)
    return CoarseQuestion(crop, _crop(image.seen(clicks), crop, side), prompt)


def unprompted_question(image: PreparedImage, shape: ModelConfig) -> CoarseQuestion:
    """The whole image without a click or an answer so far."""
    crop = Box(0, 0, *image.shape)
    side = shape.input_size
    return CoarseQuestion(crop, _crop(image.rgb, crop, side), torch.zeros(1, PROMPT_CHANNELS, side, side))


def refine_question(
    image: PreparedImage, clicks: Sequence[Click], focus: Box, crop: Box, shape: ModelConfig
) -> RefineQuestion:
    """The focus box, which lies in the target crop, as the refine layer sees it."""
    side = shape.refine_size
    disks = _disks(clicks, focus, side, shape.disk_radius)
    return RefineQuestion(focus, _crop(image.seen(clicks), focus, side), disks, torch.tensor([_fraction(focus, crop)]))


def _answer(model: InteractiveModel, requests: Sequence[Request], config: SessionConfig) -> list[SessionState]:
    states = _look(model, requests, config)
    closer = _closer(requests, states, config)
    if closer:
        begun = [requests[index][1] for index in closer]
        for index, state in zip(closer, _look(model, [*closer.values()], config, begun), strict=True):
            if state.mask.any():
                states[index] = state
    return states


def closer_requests(model: InteractiveModel, requests: Sequence[Request], config: SessionConfig) -> dict[int, Request]:
    """The second looks that `step_together` would take, by the indices of their requests: for training."""
    _check(requests)
    with torch.inference_mode():
        return _closer(requests, _look(model, requests, config), config)


def _closer(requests: Sequence[Request], states: Sequence[SessionState], config: SessionConfig) -> dict[int, Request]:
    return {
        index: (image, replace(before, probability=after.probability), click)
        for index, ((image, before, click), after) in enumerate(zip(requests, states, strict=True))
        if _wants_a_closer_look(before, after, click, config)
    }


def _wants_a_closer_look(before: SessionState, after: SessionState, click: Click, config: SessionConfig) -> bool:
    """Whether the answer was found in a view of the whole image, and lies in a small part of it.

    Never in a progressive session: what may change there is what the first look found.
    """
    if before.progressive or before.mask.any() or not after.mask.any():
        return False
    crop = _target_crop(after.mask, (*before.clicks, click), config)
    return crop.height * crop.width < config.closer_look * after.mask.size


def _look(
    model: InteractiveModel,
    requests: Sequence[Request],
    config: SessionConfig,
    begun: Sequence[SessionState] | None = None,
) -> list[SessionState]:
    """One coarse and one refine pass, in as many mirror images as the session takes.

    Args:
        begun: What the people saw when they clicked, where that is not the requests' states.
    """
    device = next(model.parameters()).device
    questions = [coarse_question(*request, model.config, config) for request in requests]
    logits, answers = ask_coarse(
        model,
        batched([question.rgb for question in questions], device),
        batched([question.prompt for question in questions], device),
        config.mirrors,
    )
    answered = _probabilities(logits)
    probabilities = [
        _paste(state.probability, answered[index, None], question.crop)
        for index, ((_, state, _), question) in enumerate(zip(requests, questions, strict=True))
    ]
    redrawn = [question.crop for question in questions]

    if config.refine:
        details = []
        for (image, state, click), question, probability in zip(requests, questions, probabilities, strict=True):
            after = probability > THRESHOLD
            focus = focus_box(
                state.mask, after, click, question.crop, expansion=config.focus_expansion, share=config.focus_share
            )
            details.append(refine_question(image, (*state.clicks, click), focus, question.crop, model.config))
        refined = ask_refiner(
            model,
            batched([detail.rgb for detail in details], device),
            batched([detail.disks for detail in details], device),
            answers,
            batched([detail.fraction for detail in details], device),
        )
        redrawn = [detail.focus for detail in details]
        answered = _probabilities(refined)
        probabilities = [
            _paste(probability, answered[index, None], focus)
            for index, (probability, focus) in enumerate(zip(probabilities, redrawn, strict=True))
        ]
    begun = begun or [state for _, state, _ in requests]
    return [
        _end(state, seen, click, probability, box, config)
        for (_, state, click), seen, probability, box in zip(requests, begun, probabilities, redrawn, strict=True)
    ]


def _end(
    state: SessionState, seen: SessionState, click: Click, probability: np.ndarray, redrawn: Box, config: SessionConfig
) -> SessionState:
    """The state after a click whose (H, W) `probability` is the network's; `seen` is what was clicked on."""
    probability = _merge(state, seen, probability, redrawn, click, config)
    clicks = (*state.clicks, click)
    # What a person said about a pixel holds, whatever the network thinks; of two clicks on one pixel the last one does.
    for said in clicks:
        if (probability[said.y, said.x] > THRESHOLD) != said.positive:
            probability[said.y, said.x] = 1.0 if said.positive else 0.0
    return SessionState(clicks, read_only(probability), state.progressive)


def _merge(
    state: SessionState,
    seen: SessionState,
    probability: np.ndarray,
    redrawn: Box,
    click: Click,
    config: SessionConfig,
) -> np.ndarray:
    """Keeps what the click was not about: a new (H, W) from the probabilities of before and the network's."""
    if len(state.clicks) >= config.one_way_after:
        after = probability > THRESHOLD
        against = (after != seen.mask) & (after != click.positive)
        probability = np.where(against, seen.probability, probability)
    if state.progressive:
        after = probability > THRESHOLD
        if after[click.y, click.x] != click.positive:
            # The network moved against the click: nothing of that is wanted.
            return state.probability.copy()
        return np.where(changed_component(state.mask, after, click), probability, state.probability)
    if len(state.clicks) >= config.local_after:
        kept = state.probability.copy()
        kept[redrawn.slices] = probability[redrawn.slices]
        probability = kept
    return probability


def batched(parts: Sequence[torch.Tensor], device: torch.device) -> torch.Tensor:
    """Tensors (1, ...) of several questions as one (B, ...) on the network's device."""
    return torch.cat(list(parts)).to(device)


def _target_crop(mask: np.ndarray, clicks: Sequence[Click], config: SessionConfig) -> Box:
    return target_box(mask, clicks, expansion=config.target_expansion, minimum=config.target_minimum)


def _crop(array: np.ndarray, box: Box, side: int) -> torch.Tensor:
    """(H, W, C) float32 to (1, C, side, side): the box, resized without aliasing."""
    part = torch.from_numpy(np.array(array[box.slices], copy=True)).permute(2, 0, 1)[None]
    return resample(part, (side, side)).contiguous()


def _probabilities(logits: torch.Tensor) -> torch.Tensor:
    """(B, 1, h, w) on the CPU: fetched from the network's device at once, for each transfer waits for it."""
    return torch.sigmoid(logits.float()).cpu()


def _paste(probability: np.ndarray, answer: torch.Tensor, box: Box) -> np.ndarray:
    """A copy of (H, W) with the box replaced by the probabilities (1, 1, h, w), resized."""
    part = resample(answer, (box.height, box.width))
    pasted = probability.copy()
    pasted[box.slices] = part[0, 0].clamp(0.0, 1.0).numpy()
    return pasted


def place_in(click: Click, box: Box, side: int) -> tuple[float, float]:
    """Where a click lies in the box, resized to (side, side): (y, x), pixel centres at whole numbers."""
    # (y + 0.5) of the image is (y' + 0.5) of the crop.
    return (
        (click.y - box.top + 0.5) * (side / box.height) - 0.5,
        (click.x - box.left + 0.5) * (side / box.width) - 0.5,
    )


def _disks(clicks: Sequence[Click], box: Box, side: int, radius: float) -> torch.Tensor:
    """(1, 2, side, side): the clicks as they lie in the resized box."""
    points = [(*place_in(click, box, side), click.positive) for click in clicks]
    return torch.from_numpy(click_disks(points, (side, side), radius))[None]


def _fraction(inner: Box, outer: Box) -> tuple[float, float, float, float]:
    return (
        (inner.top - outer.top) / outer.height,
        (inner.left - outer.left) / outer.width,
        (inner.bottom - outer.top) / outer.height,
        (inner.right - outer.left) / outer.width,
    )
