"""One click on each of several images: crop, coarse pass, focus crop, refine pass, merge.

Source: the paper's section 3.3, after FocalClick (Chen et al., CVPR 2022), without the defects of its code:
a click whose pixel did not change toggles nothing else, and what a click says about its own pixel always holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from activefreq.clicks import Click, check_clicks, click_disks
from activefreq.models.config import SessionConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.session.boxes import Box, changed_component, focus_box, target_box
from activefreq.session.state import THRESHOLD, PreparedImage, SessionState, read_only

Request = tuple[PreparedImage, SessionState, Click]


def step(
    model: InteractiveModel, requests: Sequence[Request], config: SessionConfig = SessionConfig()
) -> list[SessionState]:
    """Applies one click to each of several independent sessions.

    Args:
        model: In evaluation mode, on any device.
        requests: (image, state, click), a session each; sizes may differ.

    Returns:
        The states after the clicks, in the same order.

    Raises:
        InputError: A click lies outside its image.
    """
    if not requests:
        return []
    for image, _, click in requests:
        check_clicks([click], image.shape)
    crops = [
        target_box(
            state.mask,
            (*state.clicks, click),
            expansion=config.target_expansion,
            minimum=config.target_minimum,
        )
        for _, state, click in requests
    ]
    with torch.inference_mode():
        answers = _predict(model, requests, crops, config)
    return [_merge(request, answer, config) for request, answer in zip(requests, answers, strict=True)]


def _predict(
    model: InteractiveModel, requests: Sequence[Request], crops: Sequence[Box], config: SessionConfig
) -> list[tuple[np.ndarray, Box]]:
    """The two passes; returns each image's probability (H, W) and the last box in which it was redrawn."""
    device = next(model.parameters()).device
    size = (model.config.input_size, model.config.input_size)
    images = torch.cat([_crop(image.rgb, box, size) for (image, _, _), box in zip(requests, crops, strict=True)])
    prompts = torch.cat(
        [
            torch.cat(
                [
                    _crop(state.probability[..., None], box, size),
                    _disks((*state.clicks, click), box, size, model.config.disk_radius),
                ],
                dim=1,
            )
            for (_, state, click), box in zip(requests, crops, strict=True)
        ]
    )
    coarse = model.coarse(images.to(device), prompts.to(device))
    coarse_probability = torch.sigmoid(coarse.logits.float()).cpu()
    results = [
        _paste(state.probability, coarse_probability[index : index + 1], box)
        for index, ((_, state, _), box) in enumerate(zip(requests, crops, strict=True))
    ]
    if not config.refine:
        return list(zip(results, crops, strict=True))

    focuses = [
        focus_box(
            state.mask,
            result > THRESHOLD,
            click,
            crop,
            expansion=config.focus_expansion,
            share=config.focus_share,
        )
        for (_, state, click), result, crop in zip(requests, results, crops, strict=True)
    ]
    size = (model.config.refine_size, model.config.refine_size)
    images = torch.cat([_crop(image.rgb, box, size) for (image, _, _), box in zip(requests, focuses, strict=True)])
    disks = torch.cat(
        [
            _disks((*state.clicks, click), box, size, model.config.disk_radius)
            for (_, state, click), box in zip(requests, focuses, strict=True)
        ]
    )
    boxes = torch.tensor([_fraction(focus, crop) for focus, crop in zip(focuses, crops, strict=True)])
    refined = model.refine(images.to(device), disks.to(device), coarse, boxes.to(device))
    refined_probability = torch.sigmoid(refined.logits.float()).cpu()
    return [
        (_paste(result, refined_probability[index : index + 1], focus), focus)
        for index, (result, focus) in enumerate(zip(results, focuses, strict=True))
    ]


def _merge(request: Request, answer: tuple[np.ndarray, Box], config: SessionConfig) -> SessionState:
    """Keeps what the click was not about, and makes every click true at its own pixel."""
    _, state, click = request
    probability, box = answer
    clicks = (*state.clicks, click)
    if state.progressive:
        changed = changed_component(state.mask, probability > THRESHOLD, click)
        probability = np.where(changed, probability, state.probability)
    elif len(clicks) > config.local_after:
        kept = state.probability.copy()
        kept[box.slices] = probability[box.slices]
        probability = kept
    for earlier in clicks:
        if (probability[earlier.y, earlier.x] > THRESHOLD) != earlier.positive:
            probability[earlier.y, earlier.x] = 1.0 if earlier.positive else 0.0
    return SessionState(clicks, read_only(probability), state.progressive)


def _crop(array: np.ndarray, box: Box, size: tuple[int, int]) -> torch.Tensor:
    """(H, W, C) float32 to (1, C, *size): the box, resized without aliasing."""
    part = torch.from_numpy(np.array(array[box.slices], copy=True)).permute(2, 0, 1)[None]
    if part.shape[2:] == size:
        return part.contiguous()
    shrinks = part.shape[2] > size[0] or part.shape[3] > size[1]
    return functional.interpolate(part, size=size, mode="bilinear", align_corners=False, antialias=shrinks)


def _paste(probability: np.ndarray, part: torch.Tensor, box: Box) -> np.ndarray:
    """A copy of (H, W) with the box replaced by (1, 1, h, w), resized."""
    if part.shape[2:] != (box.height, box.width):
        shrinks = part.shape[2] > box.height or part.shape[3] > box.width
        part = functional.interpolate(
            part, size=(box.height, box.width), mode="bilinear", align_corners=False, antialias=shrinks
        )
    pasted = probability.copy()
    pasted[box.slices] = part[0, 0].clamp(0.0, 1.0).numpy()
    return pasted


def _disks(clicks: Sequence[Click], box: Box, size: tuple[int, int], radius: float) -> torch.Tensor:
    """(1, 2, *size): the clicks as they lie in the resized box."""
    scale_y, scale_x = size[0] / box.height, size[1] / box.width
    # Pixel centres: (y + 0.5) of the image is (y' + 0.5) of the crop.
    points = [
        (
            (click.y - box.top + 0.5) * scale_y - 0.5,
            (click.x - box.left + 0.5) * scale_x - 0.5,
            click.positive,
        )
        for click in clicks
    ]
    return torch.from_numpy(click_disks(points, size, radius))[None]


def _fraction(inner: Box, outer: Box) -> tuple[float, float, float, float]:
    return (
        (inner.top - outer.top) / outer.height,
        (inner.left - outer.left) / outer.width,
        (inner.bottom - outer.top) / outer.height,
        (inner.right - outer.left) / outer.width,
    )
