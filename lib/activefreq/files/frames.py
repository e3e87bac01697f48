"""DICOM files of several frames, such as Enhanced MR and CT: where each frame lies.

ITK stacks the frames in the order of the file, whatever their places are, and gives voxels of 1 mm where it cannot make
them out. So their geometry is made of what each frame says, as that of a series is.

Source: DICOM PS3.3, C.7.6.16 (Multi-frame Functional Groups Module).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from activefreq.errors import InputError
from activefreq.files.checks import last_line
from activefreq.files.grids import Geometry
from activefreq.files.series_grid import SlicePlace, check_slices

_SCALES = ("RescaleSlope", "RescaleIntercept")
_UNIT = 1e-2
"""How far rows and columns may be from unit length and from right angles."""


@dataclass(frozen=True)
class FrameStack:
    """Frames as a volume: which frame of the file, from 0, is which slice, and the grid of the slices."""

    order: tuple[int, ...]
    geometry: Geometry


def functional_groups(dataset: Dataset) -> list[Dataset]:
    """What a DICOM header says of each frame: its own functional groups and those that all share; [] for no frames."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    frames = []
    for groups in dataset.get("PerFrameFunctionalGroupsSequence") or []:
        frame = Dataset()
        frame.update(shared[0])
        frame.update(groups)
        frames.append(frame)
    return frames


def frame_places(dataset: Dataset) -> list[SlicePlace]:
    """Where the frames of a DICOM header lie; of one that knows no frames, where its only slice lies."""
    return [
        SlicePlace(
            _numbers(dataset, frame, "PlanePositionSequence", "ImagePositionPatient"),
            _numbers(dataset, frame, "PlaneOrientationSequence", "ImageOrientationPatient"),
            _numbers(dataset, frame, "PixelMeasuresSequence", "PixelSpacing"),
        )
        for frame in functional_groups(dataset) or [Dataset()]
    ]


def stack_frames(path: Path, file: Path) -> FrameStack | None:
    """How the frames of a DICOM file lie one over the other.

    Frames stay in the order of the file where they rise or fall in it.

    Args:
        path: What errors name: the file, or its folder.
        file: The file.

    Returns:
        None for a file without frames that say where they lie, such as a film.

    Raises:
        InputError: They do not lie one over the other at equal distances, or their grey values are scaled unlike each
            other; the message says what is wrong.
    """
    try:
        dataset = pydicom.dcmread(file, stop_before_pixels=True)
        frames = functional_groups(dataset)
        places = frame_places(dataset)
        group = "PixelValueTransformationSequence"
        scales = {tuple(_numbers(dataset, frame, group, keyword) for keyword in _SCALES) for frame in frames}
        count, rows, columns = (int(dataset.get(key, 1)) for key in ("NumberOfFrames", "Rows", "Columns"))
    except Exception as error:  # pydicom raises anything for what is damaged
        raise InputError(f"{path}: cannot be read ({last_line(error)})") from error
    orientation, spacing = places[0].orientation, places[0].spacing
    positions = [place.position for place in places if place.position is not None]
    if len(frames) < 2 or not positions or orientation is None or spacing is None:
        return None
    if len(frames) != count:
        raise InputError(f"{path}: has {count} frames, but says of {len(frames)} where they lie")
    if len(positions) < len(frames):
        raise InputError(f"{path}: {len(frames) - len(positions)} of its {len(frames)} frames have no position")
    if not all(map(_is_sound, places)):
        raise InputError(f"{path}: what its frames say of where they lie are no places")
    if len(scales) > 1:
        raise InputError(f"{path}: the grey values of its frames are scaled unlike each other")
    row, column = np.reshape(orientation, (2, 3))
    heights = np.array(positions) @ np.cross(row, column)
    rises = np.diff(heights) > 0
    order = np.arange(len(heights)) if rises.all() or not rises.any() else np.argsort(heights, kind="stable")
    check_slices(path, [places[index] for index in order])
    first, last = np.array(positions[order[0]]), np.array(positions[order[-1]])
    step = (last - first) / (len(positions) - 1)
    distance = float(np.linalg.norm(step))
    direction = np.stack([row, column, step / distance], axis=1)
    geometry = Geometry(
        (len(positions), rows, columns),
        (spacing[1], spacing[0], distance),
        tuple(first.tolist()),
        tuple(direction.ravel().tolist()),
    )
    return FrameStack(tuple(order.tolist()), geometry)


def _is_sound(place: SlicePlace) -> bool:
    said = (place.position or (), place.orientation or (), place.spacing or ())
    return (
        tuple(map(len, said)) == (3, 6, 2)
        and bool(np.isfinite(np.concatenate(said)).all())
        and np.allclose(np.reshape(said[1], (2, 3)) @ np.reshape(said[1], (2, 3)).T, np.eye(2), atol=_UNIT)
        and min(said[2]) > 0
    )


def _numbers(dataset: Dataset, frame: Dataset, group: str, keyword: str) -> tuple[float, ...] | None:
    """What a frame or the file as a whole says; None for nothing."""
    for holder in (*(frame.get(group) or ()), dataset):
        value = holder.get(keyword)
        if value is not None and value != "":
            return tuple(float(number) for number in np.atleast_1d(value))
    return None
