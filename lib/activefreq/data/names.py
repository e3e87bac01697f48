"""Lists of sample names: which samples to take, which to leave out."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable
from pathlib import Path

from activefreq.errors import InputError
from activefreq.files.formats import VOLUME_SUFFIXES
from activefreq.files.raster import RASTER_SUFFIXES

LIST_SUFFIXES = (".csv", ".names", ".txt")
"""Extensions of lists of names."""
_IMAGE_SUFFIXES = (*RASTER_SUFFIXES, *VOLUME_SUFFIXES)


def read_names(path: str | os.PathLike[str], *, column: str | None = None) -> frozenset[str]:
    """Reads a list of names.

    A .csv file has a header line; the names are in `column`, by default the first one. Any other file
    (".names", ".txt") has a name a line; empty lines, and what follows a "#" at the beginning or after a
    blank, do not count. Columns are divided by commas, or by semicolons if the header has these alone.

    Raises:
        InputError: The file is missing, holds no names, is not text, or has no such column.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no text file") from error
    if path.suffix.lower() == ".csv":
        names = _csv_column(path, lines, column)
    elif column is not None:
        raise InputError(f"{path}: only a .csv file has columns")
    else:
        names = [re.split(r"(?:^|\s)#", line)[0].strip() for line in lines]
    found = frozenset(name for name in names if name)
    if not found:
        raise InputError(f"{path}: holds no names")
    return found


def names_of(listed: Iterable[str]) -> frozenset[str]:
    """Names, and the names in those that are lists: an existing file, or what is written like one.

    The name of an image file is a name, wherever one stands.

    Raises:
        InputError: What is written like a file is none, or holds no names; or an image is named with its folder.
    """
    return frozenset().union(*(read_names(name) if _is_list(name) else {name} for name in listed))


def typed_names(listed: Iterable[str]) -> frozenset[str]:
    """Those of `names_of` that are named themselves, not in a list."""
    return frozenset(name for name in listed if not _is_list(name))


def _is_list(name: str) -> bool:
    path = Path(name)
    if path.name.lower().endswith(_IMAGE_SUFFIXES):
        if len(path.parts) > 1:
            raise InputError(f"{name}: is no list of names; an image is named without its folder")
        return False
    return path.is_file() or len(path.parts) > 1 or path.suffix.lower() in LIST_SUFFIXES


def _csv_column(path: Path, lines: list[str], column: str | None) -> list[str]:
    header = lines[0] if lines else ""
    rows = csv.DictReader(lines, delimiter=";" if ";" in header and "," not in header else ",")
    columns = rows.fieldnames or ()
    if column is None:
        column = next(iter(columns), None)
    if column is None or column not in columns:
        raise InputError(f"{path}: has no column {column!r}, only {', '.join(columns) or 'nothing'}")
    return [(row[column] or "").strip() for row in rows]
