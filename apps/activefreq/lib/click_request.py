"""What Slicer, OHIF and scripts send with a click."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from activefreq.clicks import Click
from activefreq.errors import InputError

MOST_CLICKS = 1000
"""Of one request: each is a pass through the network, which nobody can stop."""
EXTENSIONS = (".nrrd", ".nii.gz", ".nii")
"""Files in which a mask can be answered; all keep the image's geometry."""


@dataclass(frozen=True)
class SliceClicks:
    """Clicks on one slice, each list in the order of the request; (j, i) of the volume are (y, x) of the slice.

    Attributes:
        positives: On the object.
        negatives: On the background.
        signs: Of all clicks in the order in which they were made, where the client told it.
    """

    positives: tuple[Click, ...] = ()
    negatives: tuple[Click, ...] = ()
    signs: tuple[bool, ...] | None = None


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
            request: With `foreground` and `background` as lists of (i, j, k) index triples, or in their place `clicks`
                as a list of (i, j, k, 1 or 0) in the order in which they were made (as they come with an answer);
                `result_extension`, `result_dtype` and `result_compress`; all optional. Other entries are not read.
            size: (I, J, K) of the image.

        Raises:
            InputError: Naming the entry, and the point in it, that cannot be used.
        """
        ordered = request.get("clicks")
        for name in ("clicks", "foreground", "background"):
            value = request.get(name)
            if isinstance(value, list) and len(value) > MOST_CLICKS:
                raise InputError(f"{name} has {len(value)} points, but a request takes {MOST_CLICKS} at most")
        slices = _unordered(request, size) if ordered is None else _ordered(ordered, size)
        extension = request.get("result_extension") or EXTENSIONS[0]
        if extension not in EXTENSIONS:
            raise InputError(f"result_extension must be one of {', '.join(EXTENSIONS)}, not {extension!r}")
        if request.get("result_dtype") not in (None, "uint8"):
            raise InputError(f"result_dtype must be 'uint8', not {request['result_dtype']!r}")
        compress = request.get("result_compress", True)
        if not isinstance(compress, bool):
            raise InputError(f"result_compress must be true or false, not {compress!r}")
        return ClickRequest(slices, extension, compress)


def _unordered(request: Mapping[str, Any], size: tuple[int, int, int]) -> dict[int, SliceClicks]:
    points: dict[int, tuple[list[Click], list[Click]]] = {}
    for side, name in enumerate(("foreground", "background")):
        for i, j, k in _points(request.get(name), name, size):
            points.setdefault(k, ([], []))[side].append(Click(j, i, positive=side == 0))
    return {k: SliceClicks(tuple(p), tuple(n)) for k, (p, n) in sorted(points.items())}


def _ordered(value: Any, size: tuple[int, int, int]) -> dict[int, SliceClicks]:
    if not isinstance(value, list):
        raise InputError(f"clicks must be a list of [i, j, k, 1 or 0], not {value!r}")
    clicks: dict[int, list[Click]] = {}
    for number, entry in enumerate(value, start=1):
        if not isinstance(entry, list) or len(entry) != 4 or entry[3] not in (0, 1):
            raise InputError(f"click {number} must be [i, j, k, 1 or 0], not {entry!r}")
        i, j, k = _point(entry[:3], f"click {number}", size)
        clicks.setdefault(k, []).append(Click(j, i, positive=bool(entry[3])))
    return {
        k: SliceClicks(
            positives=tuple(click for click in made if click.positive),
            negatives=tuple(click for click in made if not click.positive),
            signs=tuple(click.positive for click in made),
        )
        for k, made in sorted(clicks.items())
    }


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
