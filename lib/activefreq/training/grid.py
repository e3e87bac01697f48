"""The image's own pixels in a view that shows them enlarged.

A session keeps its mask, and takes its clicks, on the pixels of the image, but the network may see a small crop of them
enlarged several times. There, a click on a pixel that is wrong by a hair looks like one in the middle of a wide error,
and the previous answer looks blurred. So training shows both as a session does. (NoC did not tell the difference.)
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from activefreq.clicks import Click
from activefreq.session.resampling import resample
from activefreq.session.state import THRESHOLD


def mask_on_grid(target: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """The mask (S, S) bool on the image's pixels: (*grid,) bool; as it is if nothing would be left of it."""
    coarse = resample(torch.from_numpy(target.astype(np.float32))[None, None], grid)[0, 0].numpy() > THRESHOLD
    return coarse if coarse.any() else target


def obey(probability: torch.Tensor, clicks: Iterable[Click]) -> torch.Tensor:
    """A copy of (1, h, w) in which every clicked pixel has the label that was said, as a session sees to."""
    said = probability.clone()
    for click in clicks:
        if bool(said[0, click.y, click.x] > THRESHOLD) != click.positive:
            said[0, click.y, click.x] = float(click.positive)
    return said


def in_view(click: Click, grid: tuple[int, int], size: int) -> Click:
    """A click on the grid as a click on the (size, size) pixels of the view: the centre of its pixel."""
    y, x = (min(int((at + 0.5) * size / side), size - 1) for at, side in zip((click.y, click.x), grid, strict=True))
    return Click(y, x, click.positive)
