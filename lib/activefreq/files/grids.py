"""Voxels and the grid in the patient's space on which they lie.

Arrays are (K, J, I), that is (slice, row, column) of the file's own index order, whatever the anatomical
orientation: what 3D Slicer and OHIF call IJK. Geometry is ITK's (LPS, mm).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from activefreq.errors import InputError

_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Geometry:
    """The grid of a volume in the patient's space (LPS).

    Attributes:
        shape: (K, J, I) voxels.
        spacing: (i, j, k) in mm.
        origin: Centre of voxel (0, 0, 0) in mm.
        direction: 3 x 3 direction cosines, row by row; column n is the direction of axis n of (i, j, k).
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = _IDENTITY

    def points(self, ijk: np.ndarray) -> np.ndarray:
        """Maps voxel indices (n, 3), ordered (i, j, k), to points (n, 3) in mm."""
        matrix = np.reshape(self.direction, (3, 3)) * np.asarray(self.spacing)
        return np.asarray(ijk, float) @ matrix.T + np.asarray(self.origin)

    def matches(self, other: Geometry) -> bool:
        """True if both have the same voxels: equal shapes, corners at most a quarter of a voxel apart."""
        if self.shape != other.shape:
            return False
        corners = np.array(list(itertools.product(*((0, size - 1) for size in reversed(self.shape)))))
        distance = np.linalg.norm(self.points(corners) - other.points(corners), axis=1).max()
        return bool(distance <= 0.25 * min(self.spacing))

    def apply_to(self, image: sitk.Image) -> sitk.Image:
        """Gives spacing, origin and direction to a 3D SimpleITK image, and returns it."""
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)
        return image


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels with their geometry.

    Attributes:
        array: (K, J, I), or (K, J, I, 3) for colour, in the dtype of the file.
        geometry: The grid of the voxels.
    """

    array: np.ndarray
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.array.shape[:3] != self.geometry.shape:
            raise InputError(f"voxels of shape {self.array.shape} do not fit a grid of shape {self.geometry.shape}")
