"""What a session knows after its clicks so far. States never change: undo is going back to an earlier one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from activefreq.clicks import Click
from activefreq.errors import InputError
from activefreq.session.cache import ENTRY_BYTES
from activefreq.session.hounsfield import SOFT_TISSUE, window_at
from activefreq.session.intensity import normalize

THRESHOLD = 0.5
"""Foreground is where the probability is above this."""

_CLICK_BYTES = 256
"""Of a click in the memory of Python."""

_REACH = 2
"""Pixels around a click by which its tissue is known."""


def read_only(array: np.ndarray) -> np.ndarray:
    """Forbids writing to an array that is shared, and returns it."""
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """An image as the session works on it.

    Attributes:
        rgb: (H, W, 3) float32 in [0, 1], read-only; of CT through the window for soft tissue.
        hounsfield: (H, W) of CT, read-only; None of other images.
    """

    rgb: np.ndarray
    hounsfield: np.ndarray | None = None

    @property
    def bytes_held(self) -> int:
        """What the image takes in a cache."""
        return ENTRY_BYTES + self.rgb.nbytes + (0 if self.hounsfield is None else self.hounsfield.nbytes)

    @property
    def shape(self) -> tuple[int, int]:
        return self.rgb.shape[0], self.rgb.shape[1]

    def seen(self, clicks: Sequence[Click]) -> np.ndarray:
        """The image as `rgb` is: of CT through the window for what the first positive click is on."""
        first = next((click for click in clicks if click.positive), None)
        if self.hounsfield is None or first is None:
            return self.rgb
        return self.at(_value_at(self.hounsfield, first))

    def at(self, value: float) -> np.ndarray:
        """The image as `rgb` is: of CT through the window for tissue of this many Hounsfield units."""
        window = window_at(value)
        if self.hounsfield is None or window == SOFT_TISSUE:
            return self.rgb
        return np.repeat(window.stretch(self.hounsfield)[..., None], 3, axis=2)


def _value_at(values: np.ndarray, click: Click) -> float:
    """The mean of the 5 x 5 pixels around a click: CT is noisy."""
    around = values[max(click.y - _REACH, 0) : click.y + _REACH + 1, max(click.x - _REACH, 0) : click.x + _REACH + 1]
    return float(around.mean())


def prepare_image(image: np.ndarray) -> PreparedImage:
    """Checks and normalizes an image, see `intensity.to_rgb`. Raises `InputError`."""
    rgb, hounsfield = normalize(image)
    return PreparedImage(read_only(rgb), None if hounsfield is None else read_only(hounsfield.copy()))


@dataclass(frozen=True, eq=False)
class SessionState:
    """Clicks and what came of them.

    Attributes:
        clicks: In the order in which they were given.
        probability: (H, W) float32 in [0, 1], read-only.
        progressive: True if the session began from a given mask: then a click changes only the component under it.
    """

    clicks: tuple[Click, ...]
    probability: np.ndarray
    progressive: bool

    @staticmethod
    def start(shape: tuple[int, int], previous_mask: np.ndarray | None = None) -> SessionState:
        """The state before the first click. Raises `InputError` if the mask is not (H, W) of the image."""
        if previous_mask is None:
            return SessionState((), read_only(np.zeros(shape, np.float32)), progressive=False)
        mask = np.asarray(previous_mask)
        if mask.ndim == 3 and mask.shape[2] == 1:
            mask = mask[..., 0]
        if mask.shape != tuple(shape):
            raise InputError(f"the mask has the shape {np.shape(previous_mask)}, but the image has {tuple(shape)}")
        if mask.dtype.kind not in "bui" and not np.isin(mask, (0, 1)).all():
            raise InputError("a mask holds 0 and 1 (or labels, where every non-zero one is the object)")
        return SessionState((), read_only((mask != 0).astype(np.float32)), progressive=bool(mask.any()))

    @property
    def mask(self) -> np.ndarray:
        """(H, W) bool."""
        return self.probability > THRESHOLD

    @property
    def bytes_held(self) -> int:
        """What the state takes in a cache, at most: many clicks on a tiny image are more than its pixels."""
        return ENTRY_BYTES + self.probability.nbytes + _CLICK_BYTES * len(self.clicks)
