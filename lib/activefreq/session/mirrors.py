"""One question asked in mirror images, and the answers averaged, for more time a click.

A network learns from mirrored views, but answers each a little differently. With one view, its answer is taken as it
is. What more views bring is measured in docs/experiments.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from activefreq.models.coarse import CoarseOutput
from activefreq.models.interactive import InteractiveModel

AXES: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))
"""The axes of (B, C, H, W) that are turned round in each view, in the order in which views are added."""


def ask_coarse(
    model: InteractiveModel, image: torch.Tensor, prompt: torch.Tensor, views: int
) -> tuple[torch.Tensor, tuple[CoarseOutput, ...]]:
    """The coarse pass in the first `views` mirror images.

    Views are asked one by one: kernels round differently in larger batches.

    Args:
        image, prompt: As `InteractiveModel.coarse` takes them.
        views: From 1 to 4.

    Returns:
        The mean logits (B, 1, S, S), the right way round; and the answer to each view as it is, mirrored.
    """
    answers = tuple(model.coarse(_turned(image, axes), _turned(prompt, axes)) for axes in AXES[:views])
    return _mean([answer.logits for answer in answers]), answers


def ask_refiner(
    model: InteractiveModel,
    image: torch.Tensor,
    disks: torch.Tensor,
    answers: Sequence[CoarseOutput],
    boxes: torch.Tensor,
) -> torch.Tensor:
    """The refine pass in the mirror images in which the coarse pass was asked.

    Args:
        image, disks, boxes: As `InteractiveModel.refine` takes them, the right way round.
        answers: Of `ask_coarse`.

    Returns:
        The mean logits (B, 1, R, R), the right way round.
    """
    refined = [
        model.refine(_turned(image, axes), _turned(disks, axes), answer, _mirrored(boxes, axes)).logits
        for axes, answer in zip(AXES, answers, strict=False)
    ]
    return _mean(refined)


def _mean(logits: Sequence[torch.Tensor]) -> torch.Tensor:
    if len(logits) == 1:
        return logits[0]
    return torch.stack([_turned(one, axes) for axes, one in zip(AXES, logits, strict=False)]).mean(0)


def _turned(maps: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    return maps.flip(axes) if axes else maps


def _mirrored(boxes: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """Boxes (B, 4) of (y0, x0, y1, x1) as fractions, where they lie in the mirror image."""
    if not axes:
        return boxes
    top, left, bottom, right = boxes.unbind(1)
    if 2 in axes:
        top, bottom = 1 - bottom, 1 - top
    if 3 in axes:
        left, right = 1 - right, 1 - left
    return torch.stack([top, left, bottom, right], dim=1)
