"""Whether the slices of a DICOM series lie on the upright grid that a volume of them would have.

ITK puts them on one whatever their headers say: the planes of a localizer, the phases of a heart beat, and the slices
of a tilted gantry, of which the last would be centimetres off.

Source: DICOM PS3.3, C.7.6.2 (Image Plane Module).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from activefreq.errors import InputError

EVEN = 0.25
"""Of the distance of two slices: as far may one be from its place along the others."""
UPRIGHT = 0.5
"""Of a pixel: as far may the last slice be beside its place over the first."""
_PARALLEL = 1e-3
_SAME_SPACING = 1e-3
_SAME_PLACE = 1e-3


@dataclass(frozen=True)
class SlicePlace:
    """What a slice's header says of where it lies; None for what it does not say.

    Attributes:
        position: Of the first pixel's centre (x, y, z) in mm.
        orientation: Direction cosines of a row (x, y, z), and of a column.
        spacing: Between rows and between columns, in mm.
    """

    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    spacing: tuple[float, ...] | None = None


def check_slices(path: Path, slices: Sequence[SlicePlace]) -> None:
    """Looks at slices in the order in which they would become a volume.

    Series whose slices say nothing of a kind, as photographs do of their positions, are not judged by it.

    Raises:
        InputError: They do not lie one over the other at equal distances; the message says what is wrong.
    """
    orientations = _all(path, "direction", [one.orientation for one in slices])
    spacings = _all(path, "pixel spacing", [one.spacing for one in slices])
    positions = _all(path, "position", [one.position for one in slices])
    if orientations is not None and np.abs(orientations - orientations[0]).max() > _PARALLEL:
        raise InputError(f"{path}: its slices are not parallel to each other: is it a localizer?")
    if spacings is not None and np.abs(spacings / spacings[0] - 1).max() > _SAME_SPACING:
        raise InputError(f"{path}: the pixels of its slices are not of one size")
    if positions is None or len(slices) < 2:
        return
    cosines = np.array([1.0, 0, 0, 0, 1.0, 0]) if orientations is None else orientations[0]
    normal = np.cross(cosines[:3], cosines[3:])
    heights = (positions - positions[0]) @ normal
    same = int((np.diff(np.sort(heights)) < _SAME_PLACE).sum())
    if same:
        raise InputError(
            f"{path}: {same} of its {len(slices)} slices lie where another one lies: are they of several times?"
        )
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    places = positions[0] + np.arange(len(positions))[:, None] * step
    deviation = float(np.linalg.norm(positions - places, axis=1).max())
    if deviation > EVEN * np.linalg.norm(step):
        raise InputError(f"{path}: a slice is {deviation:.2f} mm away from where it should be: is one missing?")
    beside = float(np.linalg.norm(positions[-1] - positions[0] - heights[-1] * normal))
    pixel = 1.0 if spacings is None else float(spacings[0].min())
    if beside > UPRIGHT * pixel:
        raise InputError(
            f"{path}: its last slice lies {beside:.1f} mm beside the first one: slices of a tilted gantry are on no "
            "upright grid; resample them to one first"
        )


def _all(path: Path, what: str, said: Sequence[tuple[float, ...] | None]) -> np.ndarray | None:
    """(K, n) of what every slice says; None if no slice does. Raises `InputError` if only some do."""
    known = [one for one in said if one is not None]
    if known and len(known) < len(said):
        raise InputError(f"{path}: {len(said) - len(known)} of its {len(said)} slices have no {what}")
    return np.array(known) if known else None
