"""Pictures of what a model makes of an image: truth and answer outlined, clicks as dots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from skimage.draw import disk
from skimage.segmentation import find_boundaries
from skimage.transform import resize

from activefreq.clicks import Click
from activefreq.session.intensity import to_rgb

TRUTH, ANSWER = (0, 255, 0), (255, 220, 0)
POSITIVE, NEGATIVE = (0, 120, 255), (255, 0, 0)


def overlay(
    image: np.ndarray, target: np.ndarray, mask: np.ndarray, clicks: Sequence[Click], *, longest: int = 384
) -> np.ndarray:
    """Draws the outlines of the truth (green) and of the answer (yellow), positive clicks blue, negative ones red.

    Args:
        image: As a session takes it.
        target, mask: (H, W) bool.
        longest: The picture's longer side in pixels.

    Returns:
        (h, w, 3) uint8.
    """
    scale = longest / max(target.shape)
    shape = (max(round(target.shape[0] * scale), 1), max(round(target.shape[1] * scale), 1))
    picture = np.rint(resize(to_rgb(image), (*shape, 3), order=1, anti_aliasing=scale < 1) * 255).astype(np.uint8)
    for outlined, colour in ((target, TRUTH), (mask, ANSWER)):
        shrunk = resize(outlined.astype(np.float32), shape, order=1, anti_aliasing=scale < 1) > 0.5
        picture[find_boundaries(shrunk, mode="inner")] = colour
    for click in clicks:
        centre = ((click.y + 0.5) * scale - 0.5, (click.x + 0.5) * scale - 0.5)
        picture[disk(centre, 0.012 * longest, shape=shape)] = POSITIVE if click.positive else NEGATIVE
    return picture
