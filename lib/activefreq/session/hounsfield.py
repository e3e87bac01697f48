"""CT: which part of its scale is looked at.

From air to bone there are 2000 Hounsfield units, and a lesion of the liver differs from it by 50. Stretched from its
darkest to its brightest tissue a slice shows nothing of that. Radiologists look at CT through windows; so does the
network, through the one for the tissue that was clicked on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

AIR = -1000.0
_SPREAD = 100.0
"""How far from `AIR` the air around a patient may be."""
_DARK = -500.0
"""Up to this there is air, lung, and what a scanner writes outside its field of view."""
_SHARE = 0.25
"""Of the dark pixels: how many at least are air, or one and the same value outside the field of view."""
_LEAST, _GREATEST = -10000.0, 40000.0


@dataclass(frozen=True)
class Window:
    """What is black, and what is white, in Hounsfield units."""

    low: float
    high: float

    def stretch(self, values: np.ndarray) -> np.ndarray:
        """Any shape, to float32 in [0, 1]."""
        share = (values.astype(np.float32) - np.float32(self.low)) / np.float32(self.high - self.low)
        return np.clip(share, 0.0, 1.0)


LUNG = Window(-1350.0, 150.0)
SOFT_TISSUE = Window(-160.0, 240.0)
BONE = Window(-500.0, 1300.0)

_SOFT_FROM, _SOFT_TO = -300.0, 250.0


def window_at(value: float) -> Window:
    """The window in which tissue of this many Hounsfield units is looked at."""
    if value < _SOFT_FROM:
        return LUNG
    return BONE if value > _SOFT_TO else SOFT_TISSUE


def is_hounsfield(slice_: np.ndarray) -> bool:
    """Whether a slice (H, W) is in Hounsfield units and needs a window: more than a hundredth of it is far below water.

    Files do not say: NIfTI and NRRD know no modality. What tells CT from other images with negative values, such as
    phases and differences of MR, is that a good part of its dark pixels is air, or outside the field of view. Slices
    without air are none either, and do not need a window.
    """
    if slice_.ndim != 2 or slice_.dtype.kind not in "if":
        return False
    if not _LEAST <= slice_.min() <= _DARK or slice_.max() > _GREATEST or np.percentile(slice_, 1.0) > _DARK:
        return False
    dark = slice_[slice_ <= _DARK]
    empty = (np.abs(dark - AIR) <= _SPREAD) | (dark == dark.min())
    return bool(empty.mean() >= _SHARE)
