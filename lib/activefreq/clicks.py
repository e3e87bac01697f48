"""Clicks, and the maps in which a network sees them.

Source: disks instead of distance maps from RITM (Sofiiuk et al., 2022), as FocalClick and the paper use them.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from activefreq.errors import InputError


@dataclass(frozen=True)
class Click:
    """One click of a person (or a robot) on an image.

    Attributes:
        y: Row index of the clicked pixel, 0 at the top.
        x: Column index of the clicked pixel, 0 at the left.
        positive: True marks the object, False marks the background.
    """

    y: int
    x: int
    positive: bool = True

    def __post_init__(self) -> None:
        for name in ("y", "x"):
            value = getattr(self, name)
            if isinstance(value, (bool, np.bool_)):
                raise InputError(f"click {name} must be an integer, not a bool")
            try:
                integer = operator.index(value)
            except TypeError:
                raise InputError(f"click {name} must be an integer, not {value!r}") from None
            object.__setattr__(self, name, integer)
        object.__setattr__(self, "positive", bool(self.positive))


def check_clicks(clicks: Iterable[Click], shape: Sequence[int]) -> tuple[Click, ...]:
    """Returns the clicks as a tuple; raises `InputError` naming the first one outside an image of `shape` (H, W)."""
    height, width = shape[:2]
    checked = tuple(clicks)
    for number, click in enumerate(checked, start=1):
        if not isinstance(click, Click):
            raise InputError(f"click {number} is a {type(click).__name__}, not a Click")
        if not (0 <= click.y < height and 0 <= click.x < width):
            raise InputError(
                f"click {number} at (y={click.y}, x={click.x}) is outside the image of {height} x {width} pixels"
            )
    return checked


def click_disks(points: Sequence[tuple[float, float, bool]], shape: tuple[int, int], radius: float) -> np.ndarray:
    """Draws clicks as disks, positive and negative ones in a channel each.

    Args:
        points: (y, x, positive) in the pixel coordinates of the map; may lie outside it (then a part of the
            disk, or nothing, is drawn).
        shape: (H, W) of the map.
        radius: Radius of a disk in pixels; a pixel belongs to it when its centre is at most that far away.

    Returns:
        float32 array (2, H, W) of zeros and ones: positive clicks first.
    """
    height, width = shape
    maps = np.zeros((2, height, width), np.float32)
    reach = int(np.ceil(radius))
    for y, x, positive in points:
        top, left = int(np.floor(y)) - reach, int(np.floor(x)) - reach
        rows = np.arange(max(top, 0), min(top + 2 * reach + 2, height))
        columns = np.arange(max(left, 0), min(left + 2 * reach + 2, width))
        if rows.size == 0 or columns.size == 0:
            continue
        inside = (rows[:, None] - y) ** 2 + (columns[None, :] - x) ** 2 <= radius**2
        window = maps[0 if positive else 1, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        window[inside] = 1.0
    return maps
