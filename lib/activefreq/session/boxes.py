"""Boxes: which part of the image the coarse pass sees, and which part the refine layer redraws.

Source: the paper's section 3.3, after FocalClick (Chen et al., CVPR 2022, sections 3.1 and 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from activefreq.clicks import Click


@dataclass(frozen=True)
class Box:
    """Half-open box of whole pixels: rows top to bottom - 1, columns left to right - 1."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """To index an (H, W) array with."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def contains(self, y: int, x: int) -> bool:
        return self.top <= y < self.bottom and self.left <= x < self.right

    def united(self, other: Box) -> Box:
        """The smallest box that holds this one and the other."""
        return Box(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )

    def moved(self, rows: int, columns: int) -> Box:
        """The same box further down and to the right."""
        return Box(self.top + rows, self.left + columns, self.bottom + rows, self.right + columns)

    def expanded(self, factor: float, minimum: float, shape: tuple[int, int]) -> Box:
        """Grown about its centre to `factor` times its sides, at least `minimum` pixels, inside an image of `shape`.

        Where the image's border cuts a side short, the box is shifted inwards to keep its size.
        """
        top, bottom = _grow(self.top, self.bottom, factor, minimum, shape[0])
        left, right = _grow(self.left, self.right, factor, minimum, shape[1])
        return Box(top, left, bottom, right)


def _grow(low: int, high: int, factor: float, minimum: float, limit: int) -> tuple[int, int]:
    size = min(max(int(np.ceil((high - low) * factor)), int(np.ceil(minimum)), 1), limit)
    start = round((low + high) / 2 - size / 2)
    start = min(max(start, 0), limit - size)
    return start, start + size


def whole(shape: tuple[int, int]) -> Box:
    """The box of the whole image."""
    return Box(0, 0, shape[0], shape[1])


def bounding_box(mask: np.ndarray) -> Box | None:
    """The smallest box around the True pixels of (H, W), or None if there are none."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def depth_in_box(mask: np.ndarray) -> tuple[Box, np.ndarray] | None:
    """The box of a mask (H, W), and in it each pixel's distance to the nearest pixel centre outside, 0 outside.

    What lies beyond the image counts as outside. One ring of outside pixels around the box holds the nearest one of
    anything that leaves it straight: the distances are those of the whole image, at the cost of the box. None if the
    mask is empty.
    """
    box = bounding_box(mask)
    if box is None:
        return None
    return box, ndimage.distance_transform_edt(np.pad(mask[box.slices], 1))[1:-1, 1:-1]


def target_box(mask: np.ndarray, clicks: Sequence[Click], *, expansion: float, minimum: float) -> Box:
    """What the coarse pass sees.

    Args:
        mask: (H, W) bool, the mask before the last click of `clicks`.
        clicks: All clicks, the last one included.
        expansion: Factor by which the box of mask and clicks is grown (1.4 in FocalClick).
        minimum: Least side in pixels.

    Returns:
        The whole image while the mask is empty, for clicks alone do not say how large an object is; else the grown box
        of the mask, the positive clicks and the last click.
    """
    shape = (mask.shape[0], mask.shape[1])
    box = bounding_box(mask)
    if box is None:
        return whole(shape)
    for click in clicks:
        if click.positive or click is clicks[-1]:
            box = box.united(Box(click.y, click.x, click.y + 1, click.x + 1))
    return box.expanded(expansion, minimum, shape)


def changed_component(before: np.ndarray, after: np.ndarray, click: Click) -> np.ndarray:
    """The connected component (8-neighbours) of the pixels whose label changed that holds the click.

    Args:
        before, after: (H, W) bool.

    Returns:
        (H, W) bool; empty if the click's own pixel did not change. (FocalClick takes the component of *unchanged*
        pixels then, and toggles it.)
    """
    changed = before != after
    component = np.zeros_like(changed)
    part = bounding_box(changed)
    if part is not None and changed[click.y, click.x]:
        labels, _ = ndimage.label(changed[part.slices], structure=np.ones((3, 3), bool))
        component[part.slices] = labels == labels[click.y - part.top, click.x - part.left]
    return component


def focus_box(
    before: np.ndarray, after: np.ndarray, click: Click, within: Box, *, expansion: float, share: float
) -> Box:
    """What the refine layer redraws: the change under the click, or a window around it if that is small.

    Args:
        before, after: (H, W) bool, the masks before and after the coarse pass.
        within: The target crop; the focus box lies inside it.
        expansion: Factor by which the box is grown (1.4 in FocalClick).
        share: Half the side of the least window, as a share of the object's longer side (0.2 in FocalClick).
    """
    whole_object = bounding_box(after[within.slices]) or within
    longest = max(whole_object.height, whole_object.width)
    change = bounding_box(changed_component(before, after, click)[within.slices])
    y, x = click.y - within.top, click.x - within.left
    least = max(2 * share * longest, 1.0)
    if change is None or change.height < longest / 3 or change.width < longest / 3:
        half = round(least / 2)
        window = Box(y - half, x - half, y + half + 1, x + half + 1)
        change = window if change is None else change.united(window)
    clipped = Box(
        max(change.top, 0),
        max(change.left, 0),
        min(change.bottom, within.height),
        min(change.right, within.width),
    )
    grown = clipped.expanded(expansion, least, (within.height, within.width))
    return grown.moved(within.top, within.left)
