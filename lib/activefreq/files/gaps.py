"""Voxels without a value: NaN and infinity, which quantitative maps hold outside their mask and where a fit failed."""

from __future__ import annotations

import numpy as np

from activefreq.errors import InputError

DARK = 1.0
"""Percentile of the values that are there, as which voxels without one are shown: background is dark."""


def filled(values: np.ndarray) -> np.ndarray:
    """Gives voxels without a value one that looks like what it means.

    NaN becomes the 1st percentile of the finite values, not their least one, which may be an outlier that everything
    else would be stretched from; infinity becomes the greatest finite value, or the least.

    Args:
        values: Any shape and dtype.

    Returns:
        The array itself where it has no such voxels, else a copy in its dtype.

    Raises:
        InputError: There is no finite value at all.
    """
    if values.dtype.kind != "f":
        return values
    known = np.isfinite(values)
    if known.all():
        return values
    if not known.any():
        raise InputError("holds no values but NaN or infinite ones")
    there = values[known]
    dark = np.percentile(there, DARK).astype(values.dtype)
    return np.nan_to_num(values, nan=dark, posinf=there.max(), neginf=there.min())
