"""Other opinions on where an object ends: experts disagree at borders, and so do annotators (arXiv 2404.01816)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def moved_border(target: np.ndarray, border: float, generator: np.random.Generator) -> np.ndarray:
    """The object as another person might see it: its border moved in and out by a smooth random field.

    Args:
        target: (H, W) bool.
        border: Standard deviation of the move as a share of the object's equivalent radius sqrt(area / pi).
        generator: Source of the field; its waves are about half the radius long.

    Returns:
        (H, W) bool; the target itself if nothing would be left of it.
    """
    radius = np.sqrt(np.count_nonzero(target) / np.pi)
    if radius * border == 0.0 or target.all():
        return target
    noise = ndimage.gaussian_filter(generator.standard_normal(target.shape), max(radius / 4, 1.0))
    move = noise / noise.std() * (radius * border)
    # Half a pixel on either side of the border, so that no move at all gives the target back.
    distance = np.where(
        target, ndimage.distance_transform_edt(target) - 0.5, 0.5 - ndimage.distance_transform_edt(~target)
    )
    moved = distance + move > 0
    return moved if moved.any() else target
