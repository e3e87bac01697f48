"""The one way in which pixels of an image and pixels of a network's input become each other."""

from __future__ import annotations

import torch
from torch.nn import functional


def resample(maps: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Resizes maps, bilinear, averaging over what a pixel covers if either side shrinks.

    Args:
        maps: (B, C, h, w) floats; pixel centres, not corners, stay where they are relative to the whole.
        shape: (H, W) of the result.

    Returns:
        (B, C, H, W); the maps themselves where they have that shape already.
    """
    if tuple(maps.shape[2:]) == tuple(shape):
        return maps
    shrinks = maps.shape[2] > shape[0] or maps.shape[3] > shape[1]
    return functional.interpolate(maps, size=tuple(shape), mode="bilinear", align_corners=False, antialias=shrinks)
