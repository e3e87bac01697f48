"""What a sequence of clicks is worth.

NoC and mIoU@k as RITM and FocalClick define them, except for two defects of their code: a threshold that is
reached with the very last click counts as reached, and two empty masks agree.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from monai.metrics import compute_surface_dice
from scipy.integrate import trapezoid


def dice_from_iou(iou: np.ndarray) -> np.ndarray:
    """Dice coefficient of masks whose IoU is known: 2 IoU / (1 + IoU)."""
    return 2.0 * iou / (1.0 + iou)


def surface_dice(mask: np.ndarray, target: np.ndarray, *, tolerance: float) -> float:
    """Normalized surface Dice: the share of both outlines that lies near the other one.

    Source: Nikolov et al. (arXiv 1809.04430), as MONAI computes it.

    Args:
        mask: (H, W) bool.
        target: (H, W) bool.
        tolerance: Distance in pixels up to which an outline counts as near.

    Returns:
        From 0 to 1; 1 if both masks are empty, 0 if only one is.
    """
    if not mask.any() or not target.any():
        return float(mask.any() == target.any())
    prediction, reference = (torch.from_numpy(np.ascontiguousarray(array))[None, None] for array in (mask, target))
    with warnings.catch_warnings():
        # MONAI 1.6 calls a function of its own with an argument that it deprecated.
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy", category=FutureWarning)
        score = compute_surface_dice(prediction, reference, class_thresholds=[tolerance], include_background=True)
    return float(score.squeeze())


def number_of_clicks(
    ious: Sequence[float], threshold: float, *, max_clicks: int, start_iou: float | None = None
) -> int | None:
    """How many clicks it took until the IoU was at least `threshold`.

    Args:
        ious: After click 1, 2, ...; at most `max_clicks` of them count.
        threshold: In [0, 1].
        max_clicks: The most clicks that anyone may place.
        start_iou: Of the mask before the first click, if there was one that deserves to be scored.

    Returns:
        0 if the mask before the first click was good enough, else the 1-based number of the click; None if no
        click got there (a failure: NoC counts it as `max_clicks`).
    """
    if start_iou is not None and start_iou >= threshold:
        return 0
    for number, iou in enumerate(ious[:max_clicks], start=1):
        if iou >= threshold:
            return number
    return None


def carried_on(values: Sequence[float], *, length: int, start: float = 0.0) -> np.ndarray:
    """(length,) float64: the values after click 1, 2, ..., the last one repeated once no more clicks came.

    Args:
        values: At most `length` count.
        length: Of the answer.
        start: What to repeat if no click was placed at all.
    """
    values = list(values[:length])
    last = values[-1] if values else start
    return np.array(values + [last] * (length - len(values)), np.float64)


def area_under_curve(ious: np.ndarray) -> float:
    """Normalized area under the curve of IoU against clicks, in [0, 1].

    Args:
        ious: (K,) IoU after click 1 to K, straight lines between them; with one click its IoU.
    """
    if len(ious) == 1:
        return float(ious[0])
    return float(trapezoid(ious)) / (len(ious) - 1)
