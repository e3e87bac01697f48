"""What Slicer, OHIF and scripts send with a click."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from activefreq.clicks import Click
from activefreq.errors import InputError

EXTENSIONS = (".nrrd", ".nii.gz", ".nii")
"""Files in which a mask can be answered; all keep the image's geometry."""


@dataclass(frozen=True)
class SliceClicks:
    """Clicks on one slice, each list in the order of the request; (j, i) of the volume are (y, x) of the slice."""

    positives: tuple[Click, ...] = ()
    negatives: tuple[Click, ...] = ()


@dataclass(frozen=True)
class ClickRequest:
    """The parts of an inference request that this app reads.

    Attributes:
        slices: Clicks by slice index k, ascending. The request's own `slice` is not read: OHIF sends none, and Slicer
            sends 0 for clicks of all slices when the last one lies on slice 0. Every point says its own k.
        extension: Of the file to answer with.
        compress: Whether that file is compressed.
    """

    slices: Mapping[int, SliceClicks]
    extension: str
    compress: bool

    @staticmethod
    def parse(request: Mapping[str, Any], size: tuple[int, int, int]) -> ClickRequest:
        """Checks and sorts a request.

        Args:
            request: With `foreground` and `background` as lists of (i, j, k) index triples, `result_extension`,
                `result_dtype` and `result_compress`; all optional. Other entries are not read.
            size: (I, J, K) of the image.

        Raises:
            InputError: Naming the entry, and the point in it, that cannot be used.
        """
        points: dict[int, tuple[list[Click], list[Click]]] = {}
        for side, name in enumerate(("foreground", "background")):
            for i, j, k in _points(request.get(name), name, size):
                points.setdefault(k, ([], []))[side].append(Click(j, i, positive=side == 0))
        extension = request.get("result_extension") or EXTENSIONS[0]
        if extension not in EXTENSIONS:
            raise InputError(f"result_extension must be one of {', '.join(EXTENSIONS)}, not {extension!r}")
        if request.get("result_dtype") not in (None, "uint8"):
            raise InputError(f"result_dtype must be 'uint8', not {request['result_dtype']!r}")
        compress = request.get("result_compress", True)
        if not isinstance(compress, bool):
            raise InputError(f"result_compress must be true or false, not {compress!r}")
        slices = {k: SliceClicks(tuple(p), tuple(n)) for k, (p, n) in sorted(points.items())}
        return ClickRequest(slices, extension, compress)


def _points(value: Any, name: str, size: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InputError(f"{name} must be a list of [i, j, k] points, not {value!r}")
    return [_point(point, f"{name} point {number}", size) for number, point in enumerate(value, start=1)]


def _point(value: Any, name: str, size: tuple[int, int, int]) -> tuple[int, int, int]:
    if not isinstance(value, list) or len(value) != 3:
        raise InputError(f"{name} must be three numbers [i, j, k], not {value!r}")
    for coordinate in value:
        if isinstance(coordinate, bool) or not isinstance(coordinate, (int, float)) or coordinate % 1 != 0:
            raise InputError(f"{name} must be whole numbers (voxel indices), not {value!r}")
    i, j, k = (int(coordinate) for coordinate in value)
    if not all(0 <= index < limit for index, limit in zip((i, j, k), size, strict=True)):
        raise InputError(f"{name} at {[i, j, k]} is outside the image of {' x '.join(map(str, size))} voxels")
    return i, j, k
