"""Focus boxes of training: where the refine layer practises.

Source: FocalClick (Chen et al., CVPR 2022): partly windows on the boundary, partly the object's box.
"""

from __future__ import annotations

import numpy as np

from activefreq.clicks import Click
from activefreq.session.boxes import Box, bounding_box


def training_focus(target: np.ndarray, click: Click, rng: np.random.Generator) -> Box:
    """A box as a session might focus on: around the last click, on the boundary, or around the whole object.

    Args:
        target: (H, W) bool with at least one True, what is seen of the object in a target crop.
        click: The last click, on the pixels of the crop.
    """
    box = bounding_box(target)
    if box is None:
        raise ValueError("the target is empty")
    shape = (target.shape[0], target.shape[1])
    choice = rng.random()
    if choice < 0.5:
        return box.expanded(float(rng.uniform(1.1, 1.6)), 4.0, shape)
    longest = max(box.height, box.width)
    if choice < 0.75:
        y, x = click.y, click.x
    else:
        inner = np.zeros_like(target)
        inner[1:-1, 1:-1] = target[1:-1, 1:-1] & target[:-2, 1:-1] & target[2:, 1:-1]
        inner[1:-1, 1:-1] &= target[1:-1, :-2] & target[1:-1, 2:]
        boundary = np.argwhere(target & ~inner)
        y, x = boundary[rng.integers(len(boundary))]
    side = max(longest * float(rng.uniform(0.3, 0.8)), 4.0)
    return Box(int(y), int(x), int(y) + 1, int(x) + 1).expanded(1.0, side, shape)
