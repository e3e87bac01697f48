"""Reading of 2D images and 2D label maps, whatever the format."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from activefreq.errors import InputError
from activefreq.files.grids import Volume
from activefreq.files.raster import is_raster, raster_shape, read_raster, read_raster_labels
from activefreq.files.volumes import read_geometry, read_label_volume, read_volume

MAX_PIXELS = 64_000_000
"""Pixels of the largest image that is accepted: eight thousand squared, more than dermatoscopes' cameras have."""


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads a 2D image: jpg, png, tif, bmp, a DICOM file of one frame, or a volume of one slice.

    Pixels come as they are stored: an EXIF orientation is not applied (see `activefreq.files.raster`).
    Palettes and CMYK become RGB, an alpha channel is dropped, black and white becomes 0 and 255. DICOM's
    rescaling is applied, MONOCHROME1 is inverted, pixels without a value are filled (see `activefreq.files.gaps`).

    Args:
        path: The file.
        max_pixels: Larger images are refused by their header, before they take memory.

    Returns:
        (H, W) or (H, W, 3), rows first, in the dtype of the file.

    Raises:
        InputError: The file is missing, damaged, empty, larger than `max_pixels`, holds several frames or
            slices, or no finite value; the message names the file and the reason.
    """
    if is_raster(path):
        return read_raster(path, max_pixels=max_pixels)
    return _only_slice(path, read_volume(path, max_voxels=max_pixels))


def read_labels(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads a 2D label map in one of the formats of `read_image`.

    A palette picture gives its indices, which are the labels. Colour must be grey in truth. A JPEG gives a
    mask only.

    Returns:
        (H, W) integers.

    Raises:
        InputError: As `read_image`; or the file is no label map (several colours, fractions).
    """
    if is_raster(path):
        return read_raster_labels(path, max_pixels=max_pixels)
    return _only_slice(path, read_label_volume(path, max_voxels=max_pixels))


def image_shape(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Returns (H, W) of a 2D image from its header alone; raises `InputError` as `read_image`."""
    if is_raster(path):
        return raster_shape(path, max_pixels=max_pixels)
    slices, height, width = read_geometry(path, max_voxels=max_pixels).shape
    _check_single(path, slices)
    return height, width


def _only_slice(path: str | os.PathLike[str], volume: Volume) -> np.ndarray:
    _check_single(path, len(volume.array))
    return volume.array[0]


def _check_single(path: str | os.PathLike[str], slices: int) -> None:
    if slices != 1:
        raise InputError(f"{Path(path)}: is a volume of {slices} slices, but one image is needed")
