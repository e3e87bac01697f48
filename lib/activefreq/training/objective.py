"""The loss of one batch: clicks, rounds on the model's own errors, coarse pass, refine pass.

Source: the paper's sections 3.3 and 4.1 after RITM and FocalClick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from activefreq.clicks import Click, click_disks
from activefreq.models.interactive import InteractiveModel
from activefreq.models.refiner import align
from activefreq.session.boxes import Box
from activefreq.session.resampling import resample
from activefreq.session.state import THRESHOLD
from activefreq.training.batches import Batch
from activefreq.training.clicking import correcting_click, first_clicks
from activefreq.training.config import LossConfig, TrainingConfig
from activefreq.training.focus import training_focus
from activefreq.training.grid import in_view, mask_on_grid, obey
from activefreq.training.losses import boundary_weight, detail_target, dice_loss, focal_loss
from activefreq.training.modes import evaluating
from activefreq.training.opinions import another_opinion


class Exercise(NamedTuple):
    """What the model is asked in the pass that it learns from, and the truth; all on its device.

    Attributes:
        images: (B, 3, S, S).
        prompt: (B, 3, S, S): the previous answer and the clicks.
        focus_images: (B, 3, R, R).
        disks: (B, 2, R, R), the clicks of the focus crops.
        fractions: (B, 4), the focus boxes (y0, x0, y1, x1) as fractions of the view.
        targets: (B, 1, S, S).
        focus_targets: (B, 1, R, R).
    """

    images: torch.Tensor
    prompt: torch.Tensor
    focus_images: torch.Tensor
    disks: torch.Tensor
    fractions: torch.Tensor
    targets: torch.Tensor
    focus_targets: torch.Tensor


class Logits(NamedTuple):
    """Answers of both passes: coarse (B, 1, S, S), refined and detail (B, 1, R, R)."""

    coarse: torch.Tensor
    refined: torch.Tensor
    detail: torch.Tensor


class Passes(nn.Module):
    """Both passes as one forward, which is what torch's DistributedDataParallel can wrap."""

    def __init__(self, model: InteractiveModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, exercise: Exercise) -> Logits:
        coarse = self.model.coarse(exercise.images, exercise.prompt)
        refined = self.model.refine(exercise.focus_images, exercise.disks, coarse, exercise.fractions)
        return Logits(coarse.logits.float(), refined.logits.float(), refined.detail.float())


@dataclass(frozen=True)
class Losses:
    """Unweighted parts and the weighted total, all scalars: means over the images of a batch."""

    total: torch.Tensor
    coarse: torch.Tensor
    refined: torch.Tensor
    detail: torch.Tensor


def make_exercise(model: InteractiveModel, batch: Batch, config: TrainingConfig, device: torch.device) -> Exercise:
    """Draws clicks, and lets the model answer them in rounds without gradient.

    Args:
        model: In any mode; neither the mode nor its normalization statistics change.
    """
    images = torch.stack([view.image for view in batch.views]).to(device)
    targets = torch.stack([view.target for view in batch.views])
    generators = [np.random.default_rng(seed) for seed in batch.seeds]
    # One number of rounds for the batch, so that a round is one forward pass; it depends on the step alone.
    rounds = int(np.random.default_rng([config.seed, 0x0B5, batch.step]).choice(len(config.rounds), p=config.rounds))
    masks = [
        another_opinion(mask, rng, config.opinions, rounds=rounds)
        for mask, rng in zip(targets[:, 0].numpy() > 0.5, generators, strict=True)
    ]
    targets = torch.from_numpy(np.stack(masks)[:, None].astype(np.float32))
    # Clicks are made, and answers kept, on the pixels of the image, as in a session.
    truths = [mask_on_grid(mask, view.grid) for mask, view in zip(masks, batch.views, strict=True)]
    made = [first_clicks(truth, rng, config.clicks) for truth, rng in zip(truths, generators, strict=True)]
    size = images.shape[2]
    previous = torch.zeros_like(targets)
    for _ in range(rounds):
        answers = _answer(model, images, previous, _in_view(made, truths, size), config)
        for index, (truth, own, rng) in enumerate(zip(truths, made, generators, strict=True)):
            kept = obey(resample(answers[index][None], (truth.shape[0], truth.shape[1]))[0], own)
            previous[index] = resample(kept[None], (size, size))[0]
            click = correcting_click(kept[0].numpy() > THRESHOLD, truth, rng, config.clicks)
            if click is not None:
                own.append(click)
    clicks = _in_view(made, truths, size)

    targets = targets.to(device)
    boxes = [training_focus(mask, own[-1], rng) for mask, own, rng in zip(masks, clicks, generators, strict=True)]
    fractions = torch.tensor(
        [[box.top / size, box.left / size, box.bottom / size, box.right / size] for box in boxes], device=device
    )
    # The refine layer learns at the scale at which it will work.
    side = round(size * model.config.refine_size / model.config.input_size)
    disks = torch.stack(
        [_focus_disks(own, box, side, model.config.disk_radius) for own, box in zip(clicks, boxes, strict=True)]
    )
    return Exercise(
        images,
        _prompt(previous, clicks, model, device),
        align(images, fractions, (side, side)),
        disks.to(device),
        fractions,
        targets,
        (align(targets, fractions, (side, side)) > 0.5).float(),
    )


def exercise_losses(logits: Logits, exercise: Exercise, weights: LossConfig) -> Losses:
    """Compares the answers with the truth."""
    targets, focus_targets = exercise.targets, exercise.focus_targets
    coarse = focal_loss(logits.coarse, targets, gamma=weights.gamma)
    refined = focal_loss(logits.refined, focus_targets, gamma=weights.gamma, weight=boundary_weight(focus_targets))
    detail = functional.binary_cross_entropy_with_logits(logits.detail, detail_target(focus_targets))
    total = (
        weights.coarse * coarse
        + weights.coarse_dice * dice_loss(logits.coarse, targets)
        + weights.refined * refined
        + weights.refined_dice * dice_loss(logits.refined, focus_targets)
        + weights.detail * detail
    )
    return Losses(total, coarse.detach(), refined.detach(), detail.detach())


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The mixed precision of a training, to be used as a context."""
    return torch.autocast(device.type, getattr(torch, precision), enabled=precision != "float32")


def _in_view(made: list[list[Click]], truths: list[np.ndarray], size: int) -> list[list[Click]]:
    """Clicks on the pixels of the images as clicks on the pixels of the views."""
    return [
        [in_view(click, (truth.shape[0], truth.shape[1]), size) for click in own]
        for own, truth in zip(made, truths, strict=True)
    ]


def _answer(
    model: InteractiveModel,
    images: torch.Tensor,
    previous: torch.Tensor,
    clicks: list[list[Click]],
    config: TrainingConfig,
) -> torch.Tensor:
    """The coarse probability (B, 1, S, S) on the CPU, as a session would have it."""
    with evaluating(model), torch.no_grad(), autocast(images.device, config.precision):
        logits = model.coarse(images, _prompt(previous, clicks, model, images.device)).logits
    return torch.sigmoid(logits.float()).cpu()


def _prompt(
    previous: torch.Tensor, clicks: list[list[Click]], model: InteractiveModel, device: torch.device
) -> torch.Tensor:
    shape = (previous.shape[2], previous.shape[3])
    # Disks keep their size relative to the input, whatever the size of a training's stage.
    radius = model.config.disk_radius * shape[0] / model.config.input_size
    disks = [
        torch.from_numpy(click_disks([(click.y, click.x, click.positive) for click in made], shape, radius))
        for made in clicks
    ]
    return torch.cat([previous, torch.stack(disks)], dim=1).to(device)


def _focus_disks(clicks: list[Click], box: Box, side: int, radius: float) -> torch.Tensor:
    scale_y, scale_x = side / box.height, side / box.width
    points = [
        ((click.y - box.top + 0.5) * scale_y - 0.5, (click.x - box.left + 0.5) * scale_x - 0.5, click.positive)
        for click in clicks
    ]
    return torch.from_numpy(click_disks(points, (side, side), radius))
