"""From what people have in their files to what a network is shown: RGB in [0, 1]."""

from __future__ import annotations

import numpy as np

from activefreq.errors import InputError
from activefreq.files.gaps import filled
from activefreq.files.images import MAX_PIXELS
from activefreq.session.hounsfield import SOFT_TISSUE, is_hounsfield

PERCENTILES = (1.0, 99.0)
MAX_VALUE = 1e37
"""Differences of larger numbers would leave the range of float32."""


def to_rgb(image: np.ndarray) -> np.ndarray:
    """Brings an image to float32 RGB in [0, 1].

    Colour images of 8 bit, and of floats within [0, 1], keep their values. Everything else, gray images of
    8 bit among it, is stretched from its 1st to its 99th percentile: MR has no scale, and many exports are dark.
    A colour image with three equal channels is a gray one. CT is seen through the window for soft
    tissue, see `session.hounsfield`.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3); bool, integer or float. Pixels without a value are filled, see
            `activefreq.files.gaps`.

    Returns:
        (H, W, 3) float32 in [0, 1].

    Raises:
        InputError: For another shape or dtype, an empty or too large image, no finite value, or values above 1e37.
    """
    return normalize(image)[0]


def normalize(image: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """What `to_rgb` returns, and (H, W) in Hounsfield units where the image is CT, which may share its memory."""
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise InputError(f"an image must have the shape (H, W), (H, W, 1) or (H, W, 3), not {np.shape(image)}")
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise InputError(f"the image is empty: its shape is {np.shape(image)}")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise InputError(f"the image of {array.shape[0]} x {array.shape[1]} pixels is larger than {MAX_PIXELS} pixels")
    if array.dtype.kind not in "buif":
        raise InputError(f"an image must hold numbers, not {array.dtype}")
    try:
        array = filled(array)
    except InputError as error:
        raise InputError(f"the image {error}") from error
    if array.dtype.kind == "f" and np.abs(array).max() > MAX_VALUE:
        raise InputError(f"the image holds values above {MAX_VALUE:g}")
    if array.ndim == 3 and (array == array[..., :1]).all():
        array = array[..., 0]
    if array.ndim == 3 and array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(255.0), None
    values = array.astype(np.float32)
    ct = is_hounsfield(array)
    if ct:
        values = SOFT_TISSUE.stretch(array)
    elif not (array.ndim == 3 and array.dtype.kind == "f" and values.min() >= 0 and values.max() <= 1):
        least = array.min()
        if array.dtype.itemsize > 2 and float(array.max()) - float(least) < abs(float(least)) / 256:
            # So far from 0, float32 would make different values equal.
            values = (array - least).astype(np.float32)
        low, high = np.percentile(values, PERCENTILES)
        if not high > low:
            low, high = values.min(), values.max()
        # Below float32's least number a span is 0.
        span = np.float32(high - low) or np.float32(1.0)
        values = np.clip((values - np.float32(low)) / span, 0.0, 1.0)
    if values.ndim == 2:
        values = np.repeat(values[..., None], 3, axis=2)
    return np.ascontiguousarray(values, np.float32), array if ct else None
