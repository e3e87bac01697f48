"""The loss of one batch: sessions up to a click, its coarse and its refine pass, and the truth.

Source: the paper's sections 3.3 and 4.1 after RITM and FocalClick.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from activefreq.clicks import Click
from activefreq.models.config import SessionConfig
from activefreq.models.inference import prepare_for_inference
from activefreq.models.interactive import InteractiveModel
from activefreq.session.resampling import resample
from activefreq.session.state import THRESHOLD, PreparedImage, read_only
from activefreq.session.step import batched, coarse_question, place_in, refine_question, unprompted_question
from activefreq.training.batches import Batch
from activefreq.training.config import LossConfig, TrainingConfig
from activefreq.training.focus import training_focus
from activefreq.training.losses import boundary_weight, click_weight, detail_target, dice_loss, focal_loss
from activefreq.training.modes import evaluating
from activefreq.training.opinions import another_opinion
from activefreq.training.rehearsal import begin, go_on, look_closer


class Exercise(NamedTuple):
    """What the model is asked in the pass that it learns from, and the truth; all on its device.

    Attributes:
        images: (B, 3, S, S), the target crops.
        prompt: (B, 3, S, S): the previous answer and the clicks.
        focus_images: (B, 3, R, R).
        disks: (B, 2, R, R), the clicks of the focus crops.
        fractions: (B, 4), the focus boxes (y0, x0, y1, x1) as fractions of the target crops.
        targets: (B, 1, S, S).
        focus_targets: (B, 1, R, R).
        places: (B, 2), where the last clicks lie in the target crops, or the first ones would if nothing was clicked
            on: (y, x), pixel centres at whole numbers.
        focus_places: (B, 2), in the focus crops.
        emphasis: (B,), the further weight of the pixels at the last clicks.
    """

    images: torch.Tensor
    prompt: torch.Tensor
    focus_images: torch.Tensor
    disks: torch.Tensor
    fractions: torch.Tensor
    targets: torch.Tensor
    focus_targets: torch.Tensor
    places: torch.Tensor
    focus_places: torch.Tensor
    emphasis: torch.Tensor


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


def make_exercise(
    model: InteractiveModel,
    batch: Batch,
    config: TrainingConfig,
    device: torch.device,
    session: SessionConfig = SessionConfig(),
) -> Exercise:
    """Plays sessions on the views, without gradient, and asks for the answer to the last click of each, or to none.

    Args:
        model: In any mode; neither the mode nor its normalization statistics change.
        session: How the sessions go, but for the size of their target crops and without mirror images.
    """
    network = model.at_size(config.size_at(batch.step))
    generators = [np.random.default_rng(seed) for seed in batch.seeds]
    # One number of rounds for the batch, so that a round is one forward pass; it depends on the step alone.
    common = np.random.default_rng([config.seed, 0x0B5, batch.step])
    rounds = int(common.choice(len(config.rounds), p=config.rounds))
    # Mirror images would make rehearsals slow, and teach nothing that flipped views do not.
    session = dataclasses.replace(session, target_expansion=float(common.uniform(*config.target_expansion)), mirrors=1)
    closer = rounds == 0 and common.random() < config.closer_share
    unprompted = rounds == 0 and not closer and common.random() < config.unprompted_share
    rehearsals = [
        begin(
            PreparedImage(read_only(view.image)),
            another_opinion(view.target, rng, config.opinions, rounds=rounds),
            rng,
            config.clicks,
        )
        for view, rng in zip(batch.views, generators, strict=True)
    ]
    answering = _answering(network, device, config.precision) if rounds or closer else network
    with evaluating(model), autocast(device, config.precision):
        for _ in range(rounds):
            rehearsals = go_on(answering, rehearsals, generators, config.clicks, session)
        if closer:
            rehearsals = look_closer(answering, rehearsals, session)

    shape = network.config
    questions = [
        unprompted_question(one.image, shape)
        if unprompted
        else coarse_question(one.image, one.state, one.click, shape, session)
        for one in rehearsals
    ]
    details, targets, focus_targets, places, focus_places = [], [], [], [], []
    for one, question, rng in zip(rehearsals, questions, generators, strict=True):
        crop = question.crop
        seen = one.truth[crop.slices]
        inside = Click(one.click.y - crop.top, one.click.x - crop.left, one.click.positive)
        focus = training_focus(seen, inside, rng).moved(crop.top, crop.left)
        clicks = () if unprompted else (*one.state.clicks, one.click)
        details.append(refine_question(one.image, clicks, focus, crop, shape))
        targets.append(covered(seen, shape.input_size))
        focus_targets.append(covered(one.truth[focus.slices], shape.refine_size))
        places.append(place_in(one.click, crop, shape.input_size))
        focus_places.append(place_in(one.click, focus, shape.refine_size))
    emphasis = config.losses.click if rounds >= config.losses.click_after and not unprompted else 0.0
    return Exercise(
        batched([question.rgb for question in questions], device),
        batched([question.prompt for question in questions], device),
        batched([detail.rgb for detail in details], device),
        batched([detail.disks for detail in details], device),
        batched([detail.fraction for detail in details], device),
        batched(targets, device),
        batched(focus_targets, device),
        torch.tensor(places, dtype=torch.float32, device=device),
        torch.tensor(focus_places, dtype=torch.float32, device=device),
        torch.full((len(places),), emphasis, device=device),
    )


def _answering(network: InteractiveModel, device: torch.device, precision: str) -> InteractiveModel:
    """What answers the clicks of sessions: the network, or a copy as servers have, in two thirds of the time.

    Rounds of clicks are half of a training's time. The copy has neither autocast nor float64.
    """
    plain = all(parameter.dtype == torch.float32 for parameter in network.parameters())
    if device.type == "cpu" and precision == "float32" and plain:
        return prepare_for_inference(network, device)
    return network


def covered(mask: np.ndarray, side: int) -> torch.Tensor:
    """A mask (h, w) on the pixels of the network: (1, 1, side, side) float32 of zeros and ones.

    A pixel is the object's if more than half of it is. Where nothing would be left of an object, those stay that have
    more than half as much of it as any.
    """
    share = resample(torch.from_numpy(mask.astype(np.float32))[None, None], (side, side))
    return (share > min(THRESHOLD, float(share.max()) / 2)).float()


def exercise_losses(logits: Logits, exercise: Exercise, weights: LossConfig) -> Losses:
    """Compares the answers with the truth."""
    targets, focus_targets = exercise.targets, exercise.focus_targets
    near = partial(click_weight, emphasis=exercise.emphasis, reach=weights.click_reach)
    weight = near(exercise.places, targets.shape[-1])
    coarse = focal_loss(logits.coarse, targets, gamma=weights.gamma, weight=weight)
    focus_weight = boundary_weight(focus_targets) * near(exercise.focus_places, focus_targets.shape[-1])
    refined = focal_loss(logits.refined, focus_targets, gamma=weights.gamma, weight=focus_weight)
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
