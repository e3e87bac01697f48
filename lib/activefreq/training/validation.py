"""Validation through the click session: what is measured is what people get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from activefreq.acselect.clicker import standard_click
from activefreq.models.config import SessionConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.overlap import intersection_over_union
from activefreq.session.state import SessionState, prepare_image
from activefreq.session.step import step
from activefreq.training.batches import Pair, PairSource
from activefreq.training.distributed import rank, total, world_size
from activefreq.training.modes import evaluating


@dataclass(frozen=True)
class ValidationResult:
    """mIoU@k for k = 1, 2, ... clicks of the standard clicker, and the number of images."""

    miou: tuple[float, ...]
    images: int

    @property
    def score(self) -> float:
        """Mean of mIoU@k over all k: one number to compare checkpoints by."""
        return float(np.mean(self.miou))


@dataclass(frozen=True, eq=False)
class Annotation:
    """An image clicked on to the end: its IoU after every click, and its last state."""

    overlaps: tuple[float, ...]
    state: SessionState


def validate(
    model: InteractiveModel,
    pairs: PairSource,
    *,
    clicks: int,
    limit: int | None = None,
    config: SessionConfig = SessionConfig(),
    batch_size: int = 8,
) -> ValidationResult:
    """Clicks on at most `limit` pairs, spread evenly, with the standard clicker.

    The processes of a distributed training share the pairs out among themselves, and each gets the whole result.
    """
    indices = spread(len(pairs), limit)
    own = range(rank(), len(indices), world_size())
    curves = torch.zeros(len(indices), clicks, dtype=torch.float64)
    for first in range(0, len(own), batch_size):
        places = own[first : first + batch_size]
        annotations = annotate(model, [pairs[indices[place]] for place in places], clicks=clicks, config=config)
        for place, annotation in zip(places, annotations, strict=True):
            curves[place] = torch.tensor(annotation.overlaps, dtype=torch.float64)
    # NCCL sums on the GPU that the model is on.
    curves = total(curves.to(next(model.parameters()).device)).cpu()
    return ValidationResult(tuple(curves.mean(dim=0).tolist()), len(indices))


def annotate(
    model: InteractiveModel, pairs: Sequence[Pair], *, clicks: int, config: SessionConfig = SessionConfig()
) -> list[Annotation]:
    """Clicks on several images at once with the standard clicker.

    An image whose mask has become perfect keeps its IoU of one.
    """
    images = [prepare_image(pair.image) for pair in pairs]
    states = [SessionState.start(image.shape) for image in images]
    clicked = [np.zeros(image.shape, bool) for image in images]
    overlaps: list[list[float]] = [[] for _ in pairs]
    with evaluating(model):
        for _ in range(clicks):
            requests, unfinished = [], []
            for index, pair in enumerate(pairs):
                click = standard_click(states[index].mask, pair.target, clicked[index])
                if click is not None:
                    clicked[index][click.y, click.x] = True
                    requests.append((images[index], states[index], click))
                    unfinished.append(index)
            for index, state in zip(unfinished, step(model, requests, config), strict=True):
                states[index] = state
            for index, pair in enumerate(pairs):
                overlaps[index].append(intersection_over_union(states[index].mask, pair.target))
    return [Annotation(tuple(curve), state) for curve, state in zip(overlaps, states, strict=True)]


def spread(length: int, limit: int | None) -> list[int]:
    """At most `limit` indices out of `length`, spread evenly."""
    if limit is None or limit >= length:
        return list(range(length))
    return [int(index) for index in np.linspace(0, length - 1, limit).round()]
