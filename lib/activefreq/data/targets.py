"""The object masks of a pair, on the grid of its image."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from activefreq.data.pairs import Pair
from activefreq.errors import InputError
from activefreq.files.images import image_shape, read_image, read_labels
from activefreq.files.label_resampling import resample_labels
from activefreq.files.raster import is_raster, raster_orientation
from activefreq.files.volumes import read_geometry, read_label_volume, read_volume

_HIGHEST = 255
_HALF = 127
_FEW_VALUES = 16
"""Between 0 and 255: a mask has no more, unless its borders are soft."""
_NOISE = 16
"""How far from 0 and 255 JPEG's noise goes."""
_SOFTEST = 4
"""How many pixels of a mask are of a border, for each one inside."""


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
            pair counts as background, or of a mask with soft borders (resized, or once a JPEG) what is above half.

    Raises:
        InputError: A file cannot be used, the shapes differ, the label lies outside the image or, with None, covers
            the border of its picture all around, as inverted masks do; or the image is a picture that viewers turn by
            its EXIF orientation, and the label a picture that is not.
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
            f"{_turned(pair.image)}"
        )
    if is_raster(pair.label):
        _refuse_turned(pair)
    if label_value is None:
        targets = ~np.isin(labels, [0, *pair.background]) if pair.background else _any_label(pair, labels)
        if len(targets) == 1 and targets[0].any() and _covers_border(targets[0]):
            raise InputError(f"the object of {pair.label.name} covers the border all around: is the mask inverted?")
        return targets
    return np.isin(labels, [label_value] if isinstance(label_value, int) else list(label_value))


def _any_label(pair: Pair, labels: np.ndarray) -> np.ndarray:
    """All that is not 0; of a mask with soft borders what is above half."""
    return labels > _HALF if is_raster(pair.label) and _is_soft(labels) else labels != 0


def _is_soft(labels: np.ndarray) -> bool:
    """Whether a picture of labels is a mask of 0 and 255 with values between at its borders.

    In a label map of 255 objects most pixels are of those in the middle of the range; in a mask few are.
    """
    if labels.dtype != np.uint8 or labels.max() != _HIGHEST:
        return False
    counts = np.bincount(labels.ravel(), minlength=_HIGHEST + 1)
    if np.count_nonzero(counts[1:_HIGHEST]) <= _FEW_VALUES:
        return False
    return bool(counts[_NOISE:-_NOISE].sum() <= _SOFTEST * counts[-_NOISE:].sum())


def _covers_border(mask: np.ndarray) -> bool:
    return bool(mask[[0, -1]].all() and mask[:, [0, -1]].all())


def _refuse_turned(pair: Pair) -> None:
    """Raises `InputError` where nobody can know whether a mask was drawn on the pixels or on what a viewer shows."""
    turned = is_raster(pair.image) and raster_orientation(pair.image) != 1
    if turned and raster_orientation(pair.image) != raster_orientation(pair.label):
        raise InputError(
            f"viewers turn or mirror the image {pair.image.name} by its EXIF orientation, and not the label "
            f"{pair.label.name}: on which was that drawn? Save the image upright"
        )


def _turned(image: Path) -> str:
    orientation = raster_orientation(image) if is_raster(image) else 1
    return "" if orientation == 1 else f" as it is stored: its EXIF orientation, {orientation}, is not applied"


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in (shape if shape[0] > 1 else shape[1:]))
