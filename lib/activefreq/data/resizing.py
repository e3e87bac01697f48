"""Resizing of images and masks for prepared data sets."""

from __future__ import annotations

import numpy as np
from PIL import Image

from activefreq.errors import InputError

FITS = ("squash", "inside")


def fitted_size(shape: tuple[int, int], size: int, fit: str) -> tuple[int, int]:
    """The (H, W) that an image of `shape` (H, W) is resized to.

    Args:
        shape: Of the image.
        size: Side in pixels.
        fit: "squash": a square of that side, whatever the image's proportions; "inside": proportions are
            kept, the longer side has `size` pixels.

    Raises:
        InputError: The size is not positive, or the fit is unknown.
    """
    if size < 1:
        raise InputError(f"the size must be at least 1 pixel, not {size}")
    if fit == "squash":
        return size, size
    if fit == "inside":
        scale = size / max(shape)
        return max(round(shape[0] * scale), 1), max(round(shape[1] * scale), 1)
    raise InputError(f"unknown fit {fit!r}: one of {', '.join(FITS)}")


def resize_image(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resizes (H, W) or (H, W, 3) to `shape` (H, W) by Lanczos, which averages where it shrinks; keeps the dtype.

    What the kernel overshoots stays within the image's own range.
    """
    if image.dtype == np.uint8:
        return np.array(Image.fromarray(image).resize((shape[1], shape[0]), Image.Resampling.LANCZOS))
    if image.ndim == 3:
        return np.stack([resize_image(channel, shape) for channel in np.moveaxis(image, 2, 0)], axis=2)
    floats = Image.fromarray(image.astype(np.float32)).resize((shape[1], shape[0]), Image.Resampling.LANCZOS)
    resized = np.clip(np.array(floats), image.min(), image.max())
    return resized.astype(image.dtype) if image.dtype.kind == "f" else np.rint(resized).astype(image.dtype)


def resize_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resizes (H, W) bool to `shape`: a pixel is inside where at least half of its area is."""
    area = Image.fromarray(mask.astype(np.float32)).resize((shape[1], shape[0]), Image.Resampling.BOX)
    return np.array(area) >= 0.5
