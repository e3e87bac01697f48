"""The segments of a DICOM-SEG that is to be made of a label: which values it holds, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from activefreq.errors import InputError
from activefreq.files.volumes import read_geometry, read_label_volume


def label_values(label: str, image: str) -> list[int]:
    """The values of a label other than 0. Raises `InputError` if it cannot become a segmentation of the image."""
    # By its header: what is packed well can be far larger than the request.
    own, grid = read_geometry(label), read_geometry(image)
    if not own.matches(grid):
        raise InputError(
            f"the label of {own.shape} voxels does not lie on the grid of its image of {grid.shape} voxels"
        )
    values = [int(value) for value in np.unique(read_label_volume(label).array) if value != 0]
    if not values:
        raise InputError("the label is empty, and a DICOM-SEG cannot be: mark something first")
    return values


def segments_of(values: Sequence[int], label_info: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the segments of a DICOM-SEG are called, in the order of the values, which is MONAI Label's.

    Args:
        values: Of the label.
        label_info: As the clients send it: under `label_info`, a list of {"name": ..., "idx": value}.
    """
    named = named_segments(label_info)
    return [_segment(value, str(named.get(value, {}).get("name") or f"label {value}")) for value in values]


def named_segments(label_info: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """The entries of `label_info` by the values of the label. Raises `InputError` if they cannot be read."""
    entries = label_info.get("label_info") or []
    try:
        return {int(entry.get("idx", order)): entry for order, entry in enumerate(entries, 1)}
    except (TypeError, ValueError, AttributeError, OverflowError):  # the last one for 1e999, which JSON may hold
        raise InputError('label_info must be a list of {"name": text, "idx": number}') from None


def _segment(value: int, name: str) -> dict[str, Any]:
    if "lesion" in name.lower():
        category, kind = ("49755003", "Morphologically Altered Structure"), ("52988006", "Lesion")
    else:
        category, kind = ("85756007", "Tissue"), ("85756007", "Tissue")
    return {
        "name": name,
        "model_name": "ActiveFreq",
        "segmentAttribute": {
            "labelID": value,
            "SegmentLabel": name,
            "SegmentDescription": name,
            "SegmentAlgorithmType": "SEMIAUTOMATIC",
            "SegmentAlgorithmName": "ActiveFreq",
            "SegmentedPropertyCategoryCodeSequence": _code(*category),
            "SegmentedPropertyTypeCodeSequence": _code(*kind),
            "recommendedDisplayRGBValue": [255, 0, 0],
        },
    }


def _code(value: str, meaning: str) -> dict[str, str]:
    """A SNOMED CT code."""
    return {"CodeValue": value, "CodingSchemeDesignator": "SCT", "CodeMeaning": meaning}
