"""Suggested regions that came along with a label: they are questions, and no part of the structure that is segmented.

3D Slicer imports what `activefreq_regions` answers as segments beside the structure's own, and submits every segment
that it shows, in one label map.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from fastapi import HTTPException, UploadFile

from activefreq.errors import InputError
from activefreq.files.volumes import read_label_volume
from lib.answers import http_errors
from lib.images import MAX_VOXELS

ADD = "suggested_add"
REMOVE = "suggested_remove"


def names_suggestions(info: Mapping[str, Any]) -> bool:
    """Whether what is told of a label names a suggestion; see `suggested_values`."""
    return any(name in (ADD, REMOVE) for name, _ in _named(info))


def suggested_values(info: Mapping[str, Any], values: Collection[int]) -> dict[str, int]:
    """The suggestions that are in a label: their values by name.

    Args:
        info: What is told of the label: under `label_info` what clients send, a list of {"name": ..., "idx": value},
            or under `params` what an inference that saved it answered.
        values: That are in the label.
    """
    named = _named(info)
    by_number = {number: name for name, number in named}
    by_order = dict(enumerate((name for name, _ in named), start=1))
    # Slicer counts idx over all of its segments, also those that it does not submit, such as "background"; the values
    # in its file count those that it does. So where a value has no idx, they are in the order of the names.
    shifted = not by_number.keys() >= set(values) and by_order.keys() >= set(values)
    found = by_order if shifted else by_number
    return {name: value for value, name in found.items() if name in (ADD, REMOVE) and value in values}


def label_values(label: Path) -> list[int]:
    """The values of a label other than 0. Raises `InputError` if it cannot be read."""
    try:
        found = np.unique(read_label_volume(label, max_voxels=MAX_VOXELS).array)
    except InputError as error:
        raise InputError(str(error).replace(str(label), label.name)) from error
    return [int(value) for value in found if value != 0]


def refuse_suggestions(label: Path, info: Mapping[str, Any]) -> None:
    """Raises `HTTPException` (422) for a label with suggestions in it, or one that may have some and cannot be read.

    Args:
        label: File.
        info: As of `suggested_values`.
    """
    if not names_suggestions(info):
        return
    with http_errors():
        found = suggested_values(info, label_values(label))
    if found:
        segments = f"segment{'s' if len(found) > 1 else ''} {' and '.join(sorted(found))}"
        raise HTTPException(422, f"the label holds suggested regions: remove the {segments} first, then submit again")


def refuse_uploaded_suggestions(label: UploadFile, info: Mapping[str, Any]) -> None:
    """As `refuse_suggestions`, for a file that was uploaded."""
    if not names_suggestions(info):
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "label" + "".join(PurePath(label.filename or "label.nii.gz").suffixes))
        with copy.open("wb") as file:
            shutil.copyfileobj(label.file, file)
        label.file.seek(0)
        refuse_suggestions(copy, info)


def _named(info: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Names and numbers, as far as there are any: notes to a label may be anything."""
    params = info.get("params")
    names = params.get("label_names") if isinstance(params, dict) else None
    entries: list[Any] = (
        [{"name": name, "idx": value} for name, value in names.items()] if isinstance(names, dict) else []
    )
    told = info.get("label_info")
    entries += told if isinstance(told, list) else []
    named = []
    for order, entry in enumerate(entries, start=1):
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            number = entry.get("idx")
            named.append((entry["name"], number if isinstance(number, int) else order))
    return named
