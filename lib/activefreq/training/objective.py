"""The loss of one batch: clicks, rounds on the model's own errors, coarse pass, refine pass.

Source: the paper's sections 3.3 and 4.1 after RITM and FocalClick.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from activefreq.clicks import Click, click_disks
from activefreq.models.interactive import InteractiveModel
from activefreq.models.refiner import align
from activefreq.session.boxes import Box
from activefreq.training.batches import Batch
from activefreq.training.clicking import correcting_click, first_clicks
from activefreq.training.config import TrainingConfig
from activefreq.training.focus import training_focus
from activefreq.training.losses import boundary_weight, detail_target, dice_loss, focal_loss


@dataclass(frozen=True)
class Losses:
    """Unweighted parts and the weighted total, all scalars."""

    total: torch.Tensor
    coarse: torch.Tensor
    refined: torch.Tensor
    detail: torch.Tensor


def batch_loss(model: InteractiveModel, batch: Batch, config: TrainingConfig, device: torch.device) -> Losses:
    """Runs the rounds without gradient, then the last pass with it.

    Args:
        model: In training mode; its normalization statistics are updated by the last pass only.
    """
    images = torch.stack([view.image for view in batch.views]).to(device)
    targets = torch.stack([view.target for view in batch.views])
    masks = targets[:, 0].numpy() > 0.5
    generators = [np.random.default_rng(seed) for seed in batch.seeds]
    clicks = [first_clicks(mask, rng, config.clicks) for mask, rng in zip(masks, generators, strict=True)]
    # One number of rounds for the batch, so that a round is one forward pass; it depends on the step alone.
    rounds = int(np.random.default_rng([config.seed, 0x0B5, batch.step]).choice(len(config.rounds), p=config.rounds))
    previous = torch.zeros_like(targets)
    for _ in range(rounds):
        previous = _answer(model, images, previous, clicks, config)
        for mask, answer, made, rng in zip(masks, previous[:, 0].numpy() > 0.5, clicks, generators, strict=True):
            click = correcting_click(answer, mask, rng, config.clicks)
            if click is not None:
                made.append(click)

    targets = targets.to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        coarse = model.coarse(images, _prompt(previous, clicks, model, device))
        size = images.shape[2]
        boxes = [training_focus(mask, made[-1], rng) for mask, made, rng in zip(masks, clicks, generators, strict=True)]
        fractions = torch.tensor(
            [[box.top / size, box.left / size, box.bottom / size, box.right / size] for box in boxes]
        ).to(device)
        # The refine layer learns at the scale at which it will work.
        side = round(size * model.config.refine_size / model.config.input_size)
        focus_images = align(images, fractions, (side, side))
        focus_targets = (align(targets, fractions, (side, side)) > 0.5).float()
        disks = torch.stack(
            [_focus_disks(made, box, side, model.config.disk_radius) for made, box in zip(clicks, boxes, strict=True)]
        ).to(device)
        refined = model.refine(focus_images, disks, coarse, fractions)

    weights = config.losses
    logits, refined_logits, detail_logits = coarse.logits.float(), refined.logits.float(), refined.detail.float()
    coarse_loss = focal_loss(logits, targets, gamma=weights.gamma)
    refined_loss = focal_loss(refined_logits, focus_targets, gamma=weights.gamma, weight=boundary_weight(focus_targets))
    detail_loss = functional.binary_cross_entropy_with_logits(detail_logits, detail_target(focus_targets))
    total = (
        weights.coarse * coarse_loss
        + weights.coarse_dice * dice_loss(logits, targets)
        + weights.refined * refined_loss
        + weights.refined_dice * dice_loss(refined_logits, focus_targets)
        + weights.detail * detail_loss
    )
    return Losses(total, coarse_loss.detach(), refined_loss.detach(), detail_loss.detach())


def _answer(
    model: InteractiveModel,
    images: torch.Tensor,
    previous: torch.Tensor,
    clicks: list[list[Click]],
    config: TrainingConfig,
) -> torch.Tensor:
    """The coarse probability (B, 1, S, S) on the CPU, as a session would have it."""
    training = model.training
    model.eval()
    device = images.device
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        logits = model.coarse(images, _prompt(previous, clicks, model, device)).logits
    model.train(training)
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
