"""DICOM segmentations (DICOM-SEG): frames that each say which segment and which place they are of.

ITK reads them as a stack of frames: segments on top of one another, without the empty slices that writers leave out.
What the attributes mean: DICOM PS3.3, C.8.20 and C.7.6.16.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.uid import SegmentationStorage

from activefreq.errors import InputError
from activefreq.files.frames import functional_groups
from activefreq.files.grids import Geometry, Volume

_SOP_CLASS = 0x00080016
# pydicom raises anything for what is damaged.
_BROKEN = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    NotImplementedError,
    RuntimeError,
    InvalidDicomError,
)
_EVEN = 0.25
"""Of the distance of two slices, or pixels: as far may a frame be from its place."""
_SAME = 1e-3
"""How far direction cosines, and spacings in mm, of frames may differ."""


def is_segmentation(path: Path) -> bool:
    """True for a DICOM file whose SOP class is that of segmentations; what cannot be read is none."""
    try:
        with path.open("rb") as file:
            header = read_partial(file, stop_when=lambda tag, vr, length: tag > _SOP_CLASS, force=True)
        return str(header.get("SOPClassUID", "")) == SegmentationStorage
    except _BROKEN:
        return False


def read_segmentation(path: Path, *, max_voxels: int) -> Volume:
    """Reads a DICOM segmentation as a label map.

    Args:
        path: The file, of which `is_segmentation` is true.
        max_voxels: Larger label maps are refused before they take memory.

    Returns:
        (K, J, I) uint8, or uint16 where a segment's number asks for it: the number of the segment that a voxel is of,
        else 0. Slices ascend along the normal, from the first one that there is a frame of to the last; those without
        a frame are empty.

    Raises:
        InputError: The file is damaged; its segments are not binary, or overlap; it does not say where its frames
            lie, or these are not parallel slices of one grid.
    """
    try:
        dataset = pydicom.dcmread(path, force=True)
        kind = str(dataset.get("SegmentationType", ""))
        if kind != "BINARY":
            raise InputError(f"{path}: is a DICOM segmentation of type {kind or 'unknown'}, but only BINARY is read")
        frames = functional_groups(dataset)
        if not frames:
            raise InputError(f"{path}: is a DICOM segmentation that does not say where its frames lie")
        rows, columns = int(dataset.Rows), int(dataset.Columns)
        segments = [int(_item(frame, "SegmentIdentificationSequence").ReferencedSegmentNumber) for frame in frames]
        geometry, slices = _grid(path, frames, (rows, columns))
        voxels = int(np.prod(geometry.shape, dtype=object))
        # The frames are unpacked all at once.
        if max(voxels, len(frames) * rows * columns) > max_voxels:
            raise InputError(f"{path}: its {voxels} voxels are more than the limit of {max_voxels}")
        pixels = dataset.pixel_array.reshape(-1, rows, columns) != 0
    except InputError:
        raise
    except _BROKEN as error:
        raise InputError(f"{path}: is a DICOM segmentation that cannot be read ({error})") from error
    if len(pixels) != len(frames):
        raise InputError(f"{path}: has {len(pixels)} frames, but says of {len(frames)} where they lie")
    if min(segments) < 1 or max(segments) > np.iinfo(np.uint16).max:
        raise InputError(f"{path}: has segments of the numbers {min(segments)} to {max(segments)}, not from 1 to 65535")
    return Volume(_label_map(path, pixels, segments, slices, geometry), geometry)


def _item(frame: Dataset, sequence: str) -> Dataset:
    """The only item of a functional group; raises `KeyError` naming the group if there is none."""
    items = frame.get(sequence)
    if not items:
        raise KeyError(f"no {sequence}")
    return items[0]


def _grid(path: Path, frames: list[Dataset], size: tuple[int, int]) -> tuple[Geometry, np.ndarray]:
    """The grid of all frames, and the slice k that each is of."""
    orientations = np.array(
        [[float(c) for c in _item(frame, "PlaneOrientationSequence").ImageOrientationPatient] for frame in frames]
    )
    positions = np.array(
        [[float(c) for c in _item(frame, "PlanePositionSequence").ImagePositionPatient] for frame in frames]
    )
    measures = [_item(frame, "PixelMeasuresSequence") for frame in frames]
    spacings = np.array([[float(step) for step in measure.PixelSpacing] for measure in measures])
    if orientations.shape[1:] != (6,) or positions.shape[1:] != (3,) or spacings.shape[1:] != (2,):
        raise InputError(f"{path}: is a DICOM segmentation that does not say where its frames lie")
    if not (np.isfinite(orientations).all() and np.isfinite(positions).all() and (spacings > 0).all()):
        raise InputError(f"{path}: is a DICOM segmentation whose frames lie nowhere, by its numbers")
    if np.ptp(orientations, axis=0).max() > _SAME or np.ptp(spacings, axis=0).max() > _SAME:
        raise InputError(f"{path}: is a DICOM segmentation whose frames are not parallel, or of different pixels")
    column_axis, row_axis = orientations[0].reshape(2, 3)
    axes = np.stack([column_axis, row_axis, np.cross(column_axis, row_axis)], axis=1)
    if not np.allclose(axes.T @ axes, np.eye(3), atol=_SAME):
        raise InputError(f"{path}: is a DICOM segmentation whose rows and columns are not at right angles")
    row_spacing, column_spacing = spacings[0].tolist()
    first = positions[np.argmin(positions @ axes[:, 2])]
    along = (positions - first) @ axes
    if np.abs(along[:, :2]).max() > _EVEN * min(row_spacing, column_spacing):
        raise InputError(f"{path}: is a DICOM segmentation whose slices do not lie straight above one another")
    step = _step(path, along[:, 2], measures[0])
    slices = np.rint(along[:, 2] / step)
    shape = (int(slices.max()) + 1, *size)
    spacing = (column_spacing, row_spacing, step)
    return Geometry(shape, spacing, tuple(first.tolist()), tuple(axes.ravel().tolist())), slices.astype(np.int64)


def _step(path: Path, along: np.ndarray, measures: Dataset) -> float:
    """The distance of two slices in mm, by places along the normal and by what the file says.

    Without SpacingBetweenSlices it is the least distance of two frames. If all of them have an empty slice between,
    that is too much; a slice thickness that divides it is then taken, as slices that touch have it.
    """
    said = abs(float(measures.get("SpacingBetweenSlices") or 0.0))
    thickness = abs(float(measures.get("SliceThickness") or 0.0))
    distances = np.diff(np.sort(along))
    distances = distances[distances > _SAME]
    least = float(distances.min()) if distances.size else 0.0
    candidates = [said] if said else [step for step in (thickness, least) if 0.0 < step <= (least or step) + _SAME]
    for step in candidates:
        if np.isfinite(step) and step > 0 and np.abs(along - np.rint(along / step) * step).max() <= _EVEN * step:
            return step
    if not candidates:
        raise InputError(f"{path}: is a DICOM segmentation that does not say how far apart slices are")
    raise InputError(f"{path}: is a DICOM segmentation whose slices are not evenly spaced")


def _label_map(
    path: Path, pixels: np.ndarray, segments: list[int], slices: np.ndarray, geometry: Geometry
) -> np.ndarray:
    """Labels (K, J, I) of frames (n, J, I) bool."""
    labels = np.zeros(geometry.shape, np.uint8 if max(segments) <= np.iinfo(np.uint8).max else np.uint16)
    seen = set()
    for frame, segment, k in zip(pixels, segments, slices.tolist(), strict=True):
        if (segment, k) in seen:
            raise InputError(f"{path}: has several frames of segment {segment} at the same place")
        seen.add((segment, k))
        covered = labels[k][frame]
        if covered.any():
            raise InputError(f"{path}: its segments {int(covered.max())} and {segment} overlap; give one of them")
        labels[k][frame] = segment
    return labels
