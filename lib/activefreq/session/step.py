"""One click on each of several images: crop, coarse pass, focus crop, refine pass, merge.

Source: the paper's section 3.3, after FocalClick (Chen et al., CVPR 2022), without the defects of its code:
a click whose pixel did not change toggles nothing else, and what a click says about its own pixel always holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from activefreq.clicks import Click, check_clicks, click_disks
from activefreq.models.config import SessionConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.session.boxes import Box, changed_component, focus_box, target_box
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
    for image, _, click in requests:
        check_clicks([click], image.shape)
    with torch.inference_mode():
        return [_step(model, *request, config) for request in requests]


def _step(
    model: InteractiveModel, image: PreparedImage, state: SessionState, click: Click, config: SessionConfig
) -> SessionState:
    clicks = (*state.clicks, click)
    before = state.mask
    crop = target_box(before, clicks, expansion=config.target_expansion, minimum=config.target_minimum)

    device = next(model.parameters()).device
    side, radius = model.config.input_size, model.config.disk_radius
    previous = _crop(state.probability[..., None], crop, side)
    prompt = torch.cat([previous, _disks(clicks, crop, side, radius)], dim=1)
    coarse = model.coarse(_crop(image.rgb, crop, side).to(device), prompt.to(device))
    probability = _paste(state.probability, coarse.logits, crop)
    redrawn = crop

    if config.refine:
        after = probability > THRESHOLD
        focus = focus_box(before, after, click, crop, expansion=config.focus_expansion, share=config.focus_share)
        side = model.config.refine_size
        disks = _disks(clicks, focus, side, radius)
        boxes = torch.tensor([_fraction(focus, crop)])
        refined = model.refine(_crop(image.rgb, focus, side).to(device), disks.to(device), coarse, boxes.to(device))
        probability = _paste(probability, refined.logits, focus)
        redrawn = focus

    probability = _merge(state, probability, redrawn, click, config)
    # What a person said about a pixel holds, whatever the network thinks; of two clicks on one pixel the last one does.
    for said in clicks:
        if (probability[said.y, said.x] > THRESHOLD) != said.positive:
            probability[said.y, said.x] = 1.0 if said.positive else 0.0
    return SessionState(clicks, read_only(probability), state.progressive)


def _merge(
    state: SessionState, probability: np.ndarray, redrawn: Box, click: Click, config: SessionConfig
) -> np.ndarray:
    """Keeps what the click was not about: a new (H, W) from the state's probability and the network's."""
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
    if len(state.clicks) >= config.one_way_after:
        after = probability > THRESHOLD
        against = (after != state.mask) & (after != click.positive)
        probability = np.where(against, state.probability, probability)
    return probability


def _crop(array: np.ndarray, box: Box, side: int) -> torch.Tensor:
    """(H, W, C) float32 to (1, C, side, side): the box, resized without aliasing."""
    part = torch.from_numpy(np.array(array[box.slices], copy=True)).permute(2, 0, 1)[None]
    return resample(part, (side, side)).contiguous()


def _paste(probability: np.ndarray, logits: torch.Tensor, box: Box) -> np.ndarray:
    """A copy of (H, W) with the box replaced by the sigmoid of logits (1, 1, h, w), resized."""
    part = resample(torch.sigmoid(logits.float()).cpu(), (box.height, box.width))
    pasted = probability.copy()
    pasted[box.slices] = part[0, 0].clamp(0.0, 1.0).numpy()
    return pasted


def _disks(clicks: Sequence[Click], box: Box, side: int, radius: float) -> torch.Tensor:
    """(1, 2, side, side): the clicks as they lie in the resized box."""
    scale_y, scale_x = side / box.height, side / box.width
    # Pixel centres: (y + 0.5) of the image is (y' + 0.5) of the crop.
    points = [
        (
            (click.y - box.top + 0.5) * scale_y - 0.5,
            (click.x - box.left + 0.5) * scale_x - 0.5,
            click.positive,
        )
        for click in clicks
    ]
    return torch.from_numpy(click_disks(points, (side, side), radius))[None]


def _fraction(inner: Box, outer: Box) -> tuple[float, float, float, float]:
    return (
        (inner.top - outer.top) / outer.height,
        (inner.left - outer.left) / outer.width,
        (inner.bottom - outer.top) / outer.height,
        (inner.right - outer.left) / outer.width,
    )
