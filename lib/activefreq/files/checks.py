"""What every reader asks of a file and of its values."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from activefreq.errors import InputError
from activefreq.files.gaps import filled

_NEARLY = 1e-3
"""How far a label may be from a whole number."""


def utf8_path(path: str | os.PathLike[str]) -> Path:
    """Returns the path; raises `InputError` if its name is not UTF-8, at which ITK would end the process."""
    if not is_utf8(path):
        raise InputError(f"{os.fspath(path)!r}: the name is not UTF-8; rename it")
    return Path(path)


def is_utf8(path: str | os.PathLike[str]) -> bool:
    """Whether a name can be written as UTF-8; what Python makes of other bytes in a name cannot."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def existing_file(path: str | os.PathLike[str]) -> Path:
    """Returns the path; raises `InputError` unless it is a file with something in it, and a name in UTF-8."""
    path = utf8_path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        raise InputError(f"{path}: is not a file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    return path


def image_values(path: Path, array: np.ndarray) -> np.ndarray:
    """Returns what is shown of an image (`gaps.filled`); raises `InputError` if it has no pixels or no finite value."""
    _any_pixels(path, array)
    try:
        return filled(array)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def label_values(path: Path, array: np.ndarray) -> np.ndarray:
    """Returns the array; raises `InputError` if it has no pixels, or a value that is NaN or infinite."""
    _any_pixels(path, array)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{path}: is no label map, it holds NaN or infinite values")
    return array


def _any_pixels(path: Path, array: np.ndarray) -> None:
    if array.size == 0:
        raise InputError(f"{path}: holds no pixels (its shape is {array.shape})")


def grey_labels(path: Path, labels: np.ndarray) -> np.ndarray:
    """Returns one channel of labels stored as RGB (..., 3); raises `InputError` if its channels differ."""
    if not (labels[..., :1] == labels).all():
        raise InputError(f"{path}: is no label map, it is a colour picture")
    return labels[..., 0]


def integer_labels(path: Path, labels: np.ndarray) -> np.ndarray:
    """Returns labels as integers; raises `InputError` if there are fractions among them.

    Labels that NIfTI stores with a scale come back nearly whole (nibabel writes 1 as 65535 times 1.5259e-5).
    """
    if labels.dtype.kind in "ui":
        return labels
    rounded = np.rint(labels)
    fractions = np.abs(rounded - labels) > _NEARLY
    if fractions.any():
        example = float(labels[fractions].flat[0])
        raise InputError(f"{path}: is no label map, it holds fractions such as {example:.9g}")
    return rounded.astype(np.int64)


def last_line(error: Exception) -> str:
    """Returns the last line of an error's message: ITK gives the reason there, after places in its source."""
    return str(error).strip().splitlines()[-1]


def listed(numbers: Sequence[float]) -> str:
    """Numbers as errors tell them."""
    return " ".join(f"{number:g}" for number in numbers)
