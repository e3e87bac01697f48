"""Where inside the chosen region the click goes."""

from __future__ import annotations

import numpy as np

from activefreq.acselect.clicker import interior_point
from activefreq.acselect.entropy import binary_entropy
from activefreq.acselect.regions import Regions
from activefreq.clicks import Click

PLACEMENTS = ("interior", "uncertain", "wrong")


def place_click(
    regions: Regions,
    number: int,
    probability: np.ndarray,
    clicked: np.ndarray,
    *,
    placement: str = "interior",
) -> Click:
    """The click on a region: on one of its pixels that was not clicked before, with the region's sign.

    Args:
        regions: Of the image.
        number: The region to click; it must have a pixel that was not clicked (`Regions.clickable`).
        probability: (H, W) foreground probability.
        clicked: (H, W) bool.
        placement: "interior" takes the pixel deepest inside the region, as the standard clicker does;
            "uncertain" the pixel of the highest entropy; "wrong" the pixel of the highest probability for the
            wrong class. Of equal pixels it is the deepest, then the first in row-major order.
    """
    mask, (top, left) = regions.mask(number)
    rows, columns = regions.boxes[number]
    window = clicked[rows, columns]
    positive = bool(regions.positive[number])
    eligible = mask & ~window
    if placement != "interior":
        p = np.asarray(probability[rows, columns], np.float64)
        value = binary_entropy(p) if placement == "uncertain" else (1.0 - p if positive else p)
        eligible &= value == value[eligible].max()
    point = interior_point(mask, ~eligible)
    if point is None:
        raise ValueError(f"region {number} has no pixel left to click")
    return Click(top + point.y, left + point.x, positive=positive)
