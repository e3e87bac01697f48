"""A result as a person would look at it: the image with the mask's outline and the clicks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from skimage import draw, segmentation, transform

from activefreq.clicks import Click
from activefreq.session.intensity import to_rgb

OUTLINE = (255, 214, 10)
POSITIVE = (40, 200, 80)
NEGATIVE = (230, 50, 60)


def draw_result(
    image: np.ndarray, mask: np.ndarray, clicks: Sequence[Click] = (), *, longest_side: int = 512
) -> np.ndarray:
    """Draws the mask's outline in yellow, positive clicks in green and negative ones in red.

    Args:
        image: As the session takes it.
        mask: (H, W) bool.
        longest_side: Of the picture, in pixels; the image is enlarged or shrunk to it.

    Returns:
        (h, w, 3) uint8.
    """
    rgb = to_rgb(image)
    scale = longest_side / max(rgb.shape[:2])
    shape = (max(round(rgb.shape[0] * scale), 1), max(round(rgb.shape[1] * scale), 1))
    picture = np.rint(transform.resize(rgb, shape, order=1, anti_aliasing=scale < 1) * 255).astype(np.uint8)
    large = transform.resize(mask.astype(float), shape, order=1, anti_aliasing=False) > 0.5
    picture[segmentation.find_boundaries(large, mode="thick")] = OUTLINE
    radius = max(longest_side / 80, 2.0)
    for click in clicks:
        centre = ((click.y + 0.5) * scale - 0.5, (click.x + 0.5) * scale - 0.5)
        for size, colour in ((radius + 1.5, (255, 255, 255)), (radius, POSITIVE if click.positive else NEGATIVE)):
            picture[draw.disk(centre, size, shape=shape)] = colour
    return picture
