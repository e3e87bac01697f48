"""Where inside the chosen region the click goes."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from activefreq.acselect.clicker import interior_point
from activefreq.acselect.entropy import binary_entropy
from activefreq.acselect.regions import Regions
from activefreq.clicks import Click

PLACEMENTS = ("interior", "uncertain", "wrong", "core", "gain")


def place_click(
    regions: Regions,
    number: int,
    probability: np.ndarray,
    clicked: np.ndarray,
    *,
    placement: str = "interior",
    reach: float = 0.2,
    caution: float = 0.5,
) -> Click:
    """The click on a region: on one of its pixels that was not clicked before, with the region's sign.

    Args:
        regions: Of the image.
        number: The region to click; it must have a pixel that was not clicked (`Regions.clickable`).
        probability: (H, W) foreground probability.
        clicked: (H, W) bool.
        placement: "interior" takes the pixel deepest inside the region, as the standard clicker does;
            "uncertain" the pixel of the highest entropy; "wrong" the pixel of the highest probability for the
            wrong class; "core" that of the highest depth times this probability; "gain" the pixel of the highest
            `expected_gain`. Of equal pixels it is the deepest, then the first in row-major order.
        reach: For "gain", see there.
        caution: For "gain", see there.
    """
    mask, (top, left) = regions.mask(number)
    rows, columns = regions.boxes[number]
    window = clicked[rows, columns]
    positive = bool(regions.positive[number])
    eligible = mask & ~window
    if placement != "interior" and eligible.any():
        p = np.asarray(probability[rows, columns], np.float64)
        wrong = 1.0 - p if positive else p
        if placement == "uncertain":
            value = binary_entropy(p)
        elif placement == "wrong":
            value = wrong
        elif placement == "core":
            value = wrong * ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        else:
            value = expected_gain(regions, number, probability, reach=reach, caution=caution)
        eligible &= value == value[eligible].max()
    point = interior_point(mask, ~eligible)
    if point is None:
        raise ValueError(f"region {number} has no pixel left to click")
    return Click(top + point.y, left + point.x, positive=positive)


def expected_gain(
    regions: Regions, number: int, probability: np.ndarray, *, reach: float, caution: float
) -> np.ndarray:
    """What a click on each pixel around a region would mend, less what it would spoil.

    A click moves the mask the way of its sign, the less the farther from it. So a place is worth the sum over its
    surroundings, weighted by a Gaussian, of 1 for a wrong pixel that this sign mends (of this region or a
    neighbour), -1 for a wrong pixel that it would make worse, and -`caution` times its entropy for a right pixel
    of the label that the click takes away: the less sure the model is of it, the sooner it is spoilt.

    An extension of AcSelect, not in the paper, which names interactions between regions as its limitation.

    Args:
        regions: Mislabeled regions of the image.
        number: The region to be clicked.
        probability: (H, W) foreground probability; the right pixels above 0.5 are the object.
        reach: Standard deviation of the Gaussian as a share of the object's equivalent radius sqrt(area / pi);
            at least 1 pixel.
        caution: Weight of the right pixels, at least 0.

    Returns:
        float64, of the shape of the region's box.
    """
    positive = bool(regions.positive[number])
    wrong = regions.labels > 0
    missed = wrong & np.concatenate([[False], regions.positive])[regions.labels]
    found = ~wrong & (probability > 0.5)
    sigma = max(reach * np.sqrt(np.count_nonzero(missed | found) / np.pi), 1.0)

    margin = int(np.ceil(3 * sigma))
    rows, columns = regions.boxes[number]
    top, left = max(rows.start - margin, 0), max(columns.start - margin, 0)
    part = np.s_[top : rows.stop + margin, left : columns.stop + margin]
    wrong, missed, found = wrong[part], missed[part], found[part]
    worth = np.where(missed == positive, 1.0, -1.0) * wrong
    taken = ~wrong & (found != positive)
    worth[taken] = -caution * binary_entropy(probability[part][taken])
    gain = ndimage.gaussian_filter(worth, sigma, mode="constant", radius=margin)
    return gain[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
