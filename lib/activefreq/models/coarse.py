"""What every coarse network has in common: its answer, and how its maps are brought to one size."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional


class CoarseOutput(NamedTuple):
    """What any backbone answers.

    Attributes:
        logits: (B, 1, H, W) at the input's size.
        feature: (B, F, h, w), the decoder's map that a refiner may read; F is the backbone's `feature_channels`.
    """

    logits: torch.Tensor
    feature: torch.Tensor


def to_size(x: torch.Tensor, size: torch.Size | tuple[int, int]) -> torch.Tensor:
    """Resizes (B, C, h, w): area-averaged when it shrinks, so that no pixel goes unread, bilinear when it grows."""
    if x.shape[2:] == tuple(size):
        return x
    if x.shape[2] > size[0]:
        return functional.adaptive_avg_pool2d(x, size)
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
