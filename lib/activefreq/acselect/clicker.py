"""The standard clicker of the field, and the most interior point of a mask on which it rests.

Source: RITM (Sofiiuk et al., 2022), whose clicker FocalClick and SimpleClick use unchanged. Here it says
`None` on a perfect mask, where theirs clicks the background at (0, 0).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from activefreq.clicks import Click
from activefreq.errors import InputError
from activefreq.session.boxes import depth_in_box


class InteriorPoint(NamedTuple):
    """A pixel and its Euclidean distance, in pixels, to the nearest pixel centre outside its mask."""

    y: int
    x: int
    distance: float


def interior_point(mask: np.ndarray, clicked: np.ndarray) -> InteriorPoint | None:
    """The most interior pixel of a mask that was not clicked before.

    What lies beyond the image counts as outside the mask. Of equally interior pixels it is the first in
    row-major order. None if the mask has no pixel that was not clicked.

    Args:
        mask: (H, W) bool; need not be connected: the distance is that to the complement of the whole mask.
        clicked: (H, W) bool.
    """
    found = depth_in_box(mask)
    if found is None:
        return None
    box, distance = found
    distance[clicked[box.slices]] = 0.0
    y, x = np.unravel_index(np.argmax(distance), distance.shape)
    if distance[y, x] == 0.0:
        return None
    return InteriorPoint(int(box.top + y), int(box.left + x), float(distance[y, x]))


def standard_click(prediction: np.ndarray, target: np.ndarray, clicked: np.ndarray) -> Click | None:
    """The next click of the standard clicker: the most interior mislabeled pixel.

    It is positive only if the most interior missed pixel lies strictly deeper than the most interior excess
    pixel.

    Args:
        prediction: (H, W) bool; all False before the first click.
        target: (H, W) bool, the truth.
        clicked: (H, W) bool, True where a click was placed before.

    Returns:
        The click, or None when no mislabeled pixel is left that was not clicked.

    Raises:
        InputError: The arrays differ in shape.
    """
    prediction, target, clicked = (np.asarray(array, bool) for array in (prediction, target, clicked))
    if not prediction.shape == target.shape == clicked.shape:
        raise InputError(
            f"prediction, target and clicked differ in shape: {prediction.shape}, {target.shape}, {clicked.shape}"
        )
    missed = interior_point(target & ~prediction, clicked)
    excess = interior_point(prediction & ~target, clicked)
    if missed is not None and (excess is None or missed.distance > excess.distance):
        return Click(missed.y, missed.x, positive=True)
    if excess is not None:
        return Click(excess.y, excess.x, positive=False)
    return None
