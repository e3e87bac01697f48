"""The object masks of a pair, on the grid of its image."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from activefreq.data.pairs import Pair
from activefreq.errors import InputError
from activefreq.files.images import image_shape, read_image, read_labels
from activefreq.files.raster import is_raster
from activefreq.files.volumes import read_geometry, read_label_volume, read_volume, resample_labels


def read_slices(pair: Pair) -> np.ndarray:
    """Reads the image of a pair as slices (K, H, W) or (K, H, W, 3); a 2D image is one slice.

    Returns:
        uint8 and uint16 as they are; other types as float32.

    Raises:
        InputError: See `read_volume`.
    """
    array = read_image(pair.image)[None] if is_raster(pair.image) else read_volume(pair.image).array
    return array if array.dtype in (np.uint8, np.uint16) else array.astype(np.float32)


def read_targets(pair: Pair, label_value: int | Collection[int] | None) -> np.ndarray:
    """Reads the object masks (K, H, W) bool of a pair.

    Labels of volumes are brought onto the image's grid by nearest neighbour, in the patient's space. Pictures
    have no such space (their resolution in dpi is no geometry, and programs disagree about it): there, and
    for labels stored as pictures, shapes must be equal.

    Args:
        pair: Image and label files.
        label_value: The label, or labels, that make up the object; None takes every label but 0 and those that the
            pair counts as background.

    Raises:
        InputError: A file cannot be used, the shapes differ, or the label lies outside the image.
    """
    if is_raster(pair.image):
        labels = read_labels(pair.label)[None]
        shape: tuple[int, ...] = (1, *image_shape(pair.image))
    elif is_raster(pair.label):
        labels = read_labels(pair.label)[None]
        shape = read_geometry(pair.image).shape
    else:
        geometry = read_geometry(pair.image)
        labels = resample_labels(read_label_volume(pair.label), geometry).array
        shape = geometry.shape
    if labels.shape != shape:
        raise InputError(
            f"the label {pair.label.name} of {_size(labels.shape)} pixels does not fit the image of {_size(shape)}"
        )
    if label_value is None:
        return ~np.isin(labels, [0, *pair.background]) if pair.background else labels != 0
    return np.isin(labels, [label_value] if isinstance(label_value, int) else list(label_value))


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in (shape if shape[0] > 1 else shape[1:]))
