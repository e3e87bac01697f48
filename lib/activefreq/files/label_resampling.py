"""Labels on the grid of another image."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from activefreq.errors import InputError
from activefreq.files.checks import listed
from activefreq.files.grids import Geometry, Volume

_LOST = 0.01
"""The share of labelled voxels that may lie outside an image: those of another grid are not cut at its border."""
_TOUCHES = 1e-3
"""Of a voxel of the image: what counts as rounding."""


def resample_labels(labels: Volume, onto: Geometry) -> Volume:
    """Brings labels onto the grid of an image by nearest neighbour; outside of their own grid they are 0.

    Labels already on that grid come back as they are.

    Raises:
        InputError: More than a hundredth of the labelled voxels lies outside the image, or any of them where both have
            the same shape, as copies of a grid have; or of two of the same shape one has lost its geometry.
    """
    if labels.geometry.matches(onto):
        return Volume(labels.array, onto)
    _refuse_lost(labels, onto)
    reference = onto.apply_to(sitk.Image([*reversed(onto.shape)], sitk.sitkUInt8))
    source = labels.geometry.apply_to(sitk.GetImageFromArray(labels.array))
    moved = sitk.Resample(source, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)
    return Volume(sitk.GetArrayFromImage(moved), onto)


def _refuse_lost(labels: Volume, onto: Geometry) -> None:
    """Raises `InputError` where labels would be lost on the grid of an image, or come to lie at a place made up."""
    if not labels.array.any():
        return
    same_shape = labels.geometry.shape == onto.shape
    if same_shape and _is_blank(labels.geometry) != _is_blank(onto) and labels.geometry.spacing != onto.spacing:
        raise InputError(
            "the labels have the shape of the image, but one of the two has lost its geometry: voxels of "
            f"{listed(labels.geometry.spacing)} mm, and of {listed(onto.spacing)} mm in the image"
        )
    lost = _share_outside(labels, onto, whole_voxels=not same_shape)
    if lost > (0.0 if same_shape else _LOST):
        raise InputError(
            f"{lost:.1%} of the labels lie outside the image: their geometries do not meet "
            f"(origin {listed(labels.geometry.origin)} with voxels of {listed(labels.geometry.spacing)} mm, "
            f"the image's {listed(onto.origin)} with {listed(onto.spacing)} mm)"
        )


def _is_blank(geometry: Geometry) -> bool:
    """Whether a grid is what programs write that know of none; NIfTI's default is mirrored in ITK's axes."""
    axes = np.abs(np.reshape(geometry.direction, (3, 3)))
    return geometry.spacing == (1.0, 1.0, 1.0) and not any(geometry.origin) and np.array_equal(axes, np.eye(3))


def _share_outside(labels: Volume, onto: Geometry, *, whole_voxels: bool) -> float:
    """The share of labelled voxels whose centres, or that with all of their voxel, lie outside of an image's grid."""
    size = np.array(onto.shape[::-1])
    own = np.reshape(labels.geometry.direction, (3, 3)) * labels.geometry.spacing
    steps = np.linalg.solve(np.reshape(onto.direction, (3, 3)) * onto.spacing, own)
    offset = np.linalg.solve(
        np.reshape(onto.direction, (3, 3)) * onto.spacing, np.subtract(labels.geometry.origin, onto.origin)
    )
    # A voxel that only touches the image is outside.
    margin = np.abs(steps).sum(axis=1) / 2 - _TOUCHES if whole_voxels else np.full(3, _TOUCHES)
    outside = total = 0
    for k, mask in enumerate(labels.array != 0):
        rows, columns = np.nonzero(mask)
        places = np.stack([columns, rows, np.full(len(rows), k)], axis=1) @ steps.T + offset
        outside += int(((places < -0.5 - margin) | (places > size - 0.5 + margin)).any(axis=1).sum())
        total += len(rows)
    return outside / total
