"""Other opinions on where an object ends: experts disagree at borders, and so do annotators (arXiv 2404.01816)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def moved_border(
    target: np.ndarray, border: float, generator: np.random.Generator, *, growth: float = 0.0
) -> np.ndarray:
    """The object as another person might see it: its border moved in and out by a smooth random field.

    Args:
        target: (H, W) bool.
        border: Standard deviation of the move as a share of the object's equivalent radius sqrt(area / pi).
        generator: Source of the field; its waves are about half the radius long.
        growth: A move outwards, or inwards if negative, of the whole border, as a share of that radius.

    Returns:
        (H, W) bool; the target itself if nothing would be left of it.
    """
    radius = equivalent_radius(target)
    if radius == 0.0 or border == growth == 0.0 or target.all():
        return target
    noise = ndimage.gaussian_filter(generator.standard_normal(target.shape), max(radius / 4, 1.0))
    move = radius * (border * noise / noise.std() + growth)
    moved = _depth(target) + move > 0
    return moved if moved.any() else target


def shifted(target: np.ndarray, offset: tuple[int, int]) -> np.ndarray:
    """The object drawn beside itself, as labels of another frame are: moved by `offset` (y, x) in pixels.

    Args:
        target: (H, W) bool.

    Returns:
        (H, W) bool; the target itself if more than half of the object would lie outside.
    """
    moved = np.zeros_like(target)
    onto, source = zip(*(_overlap(side, by) for side, by in zip(target.shape, offset, strict=True)), strict=True)
    moved[onto] = target[source]
    return moved if 2 * np.count_nonzero(moved) >= np.count_nonzero(target) > 0 else target


def wall(target: np.ndarray, thickness: float) -> np.ndarray:
    """The band of that many pixels around an object, its holes filled, as muscle around a cavity: (H, W) bool.

    None of an object of no pixels.
    """
    if not target.any():
        return np.zeros_like(target)
    solid = ndimage.binary_fill_holes(target)
    return ~solid & (_depth(solid) > -thickness)


def equivalent_radius(target: np.ndarray) -> float:
    """Of a disk of the same area, in pixels."""
    return float(np.sqrt(np.count_nonzero(target) / np.pi))


def _depth(target: np.ndarray) -> np.ndarray:
    """Distance to the border, negative outside. The border runs between pixels, half a pixel from either."""
    inside, outside = (ndimage.distance_transform_edt(side) for side in (target, ~target))
    return np.where(target, inside - 0.5, 0.5 - outside)


def _overlap(side: int, by: int) -> tuple[slice, slice]:
    """Along an axis: where something moved by `by` pixels comes to lie, and where it comes from."""
    length = max(side - abs(by), 0)
    return slice(max(by, 0), max(by, 0) + length), slice(max(-by, 0), max(-by, 0) + length)
