"""Mislabeled regions: the connected pieces of what the model got wrong (paper section 3.1).

A click has one sign. So missed pixels (false negatives, which a positive click mends) and excess pixels
(false positives, which a negative click mends) are labelled apart, and no region is ever both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from activefreq.errors import InputError

_STRUCTURES = {4: ndimage.generate_binary_structure(2, 1), 8: ndimage.generate_binary_structure(2, 2)}


@dataclass(frozen=True, eq=False)
class Regions:
    """Connected regions of an image, each with the sign of the click that would mend it.

    Regions are numbered from 0: first those that a positive click mends, then the others, in each group by
    their first pixel in row-major order.

    Attributes:
        labels: (H, W) int32; 0 where there is no region, else the region's number + 1.
        positive: (N,) bool; True where a positive click mends the region.
        areas: (N,) int64; pixels of each region.
        boxes: N pairs of slices (rows, columns): the smallest box around each region.
    """

    labels: np.ndarray
    positive: np.ndarray
    areas: np.ndarray
    boxes: tuple[tuple[slice, slice], ...]

    def __len__(self) -> int:
        return len(self.areas)

    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Flat (row-major) indices of all pixels in regions, and the number of the region of each."""
        flat = np.flatnonzero(self.labels)
        return flat, self.labels.ravel()[flat] - 1

    def mask(self, number: int) -> tuple[np.ndarray, tuple[int, int]]:
        """The region's own mask, cut to its box, and the (y, x) of the cut's upper left pixel."""
        rows, columns = self.boxes[number]
        return self.labels[rows, columns] == number + 1, (rows.start, columns.start)

    def clickable(self, clicked: np.ndarray) -> np.ndarray:
        """(N,) bool: which regions still have a pixel that was not clicked before."""
        used = self.labels[np.asarray(clicked, bool)]
        clicks = np.bincount(used, minlength=len(self) + 1)[1:]
        return clicks < self.areas


def label_regions(missed: np.ndarray, excess: np.ndarray, *, connectivity: int = 8) -> Regions:
    """Labels two disjoint masks into regions.

    Args:
        missed: (H, W) bool, pixels that a positive click would mend.
        excess: (H, W) bool, pixels that a negative click would mend; shares no pixel with `missed`.
        connectivity: 8 joins pixels across corners too, 4 only across edges.

    Raises:
        InputError: The masks differ in shape or overlap, or the connectivity is neither 4 nor 8.
    """
    if connectivity not in _STRUCTURES:
        raise InputError(f"connectivity must be 4 or 8, not {connectivity!r}")
    missed, excess = np.asarray(missed, bool), np.asarray(excess, bool)
    if missed.ndim != 2 or missed.shape != excess.shape:
        raise InputError(f"two masks of one shape (H, W) are needed, not {missed.shape} and {excess.shape}")
    if np.logical_and(missed, excess).any():
        raise InputError("a pixel is both missed and in excess")
    structure = _STRUCTURES[connectivity]
    labels, count_missed = ndimage.label(missed, structure, output=np.int32)
    excess_labels, count_excess = ndimage.label(excess, structure, output=np.int32)
    labels[excess] = excess_labels[excess] + count_missed
    count = count_missed + count_excess
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return Regions(
        labels=labels,
        positive=np.arange(count) < count_missed,
        areas=areas,
        boxes=tuple(ndimage.find_objects(labels, max_label=count)) if count else (),
    )


def mislabeled_regions(prediction: np.ndarray, target: np.ndarray, *, connectivity: int = 8) -> Regions:
    """Regions where a prediction differs from the truth.

    Args:
        prediction: (H, W) bool.
        target: (H, W) bool, the truth.
        connectivity: 8 or 4, see `label_regions`.

    Raises:
        InputError: As `label_regions`.
    """
    prediction, target = np.asarray(prediction, bool), np.asarray(target, bool)
    if prediction.shape != target.shape:
        raise InputError(f"the prediction has shape {prediction.shape}, but the target {target.shape}")
    return label_regions(target & ~prediction, prediction & ~target, connectivity=connectivity)
