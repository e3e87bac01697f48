"""The segments of a DICOM-SEG that is to be made of a label: which values it holds, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from activefreq.errors import InputError
from activefreq.files.volumes import read_geometry, read_label_volume

NAME_LENGTH = 64
"""The most characters that DICOM has room for in a segment's name (its LO)."""


@dataclass(frozen=True)
class Segment:
    """What a value of a label stands for; of `name` DICOM keeps `stored_name`."""

    value: int
    name: str

    @property
    def stored_name(self) -> str:
        """The name without what DICOM has no room for: control characters, backslashes, lone half characters."""
        kept = "".join(
            " " if character == "\\" or not character.isprintable() else character for character in self.name
        )
        words = " ".join(kept.split())
        return words if len(words) <= NAME_LENGTH else words[: NAME_LENGTH - 1] + "\N{HORIZONTAL ELLIPSIS}"

    @property
    def _placeholder(self) -> str:
        return f"segment {self.value}"


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


def segments_of(values: Sequence[int], label_info: Mapping[str, Any]) -> list[Segment]:
    """The segments of a label, in the order of its values, which is MONAI Label's.

    Args:
        values: Of the label.
        label_info: As the clients send it: under `label_info`, a list of {"name": ..., "idx": value}.
    """
    named = named_segments(label_info)
    named_so = [Segment(value, str(named.get(value, {}).get("name") or "")) for value in values]
    return [one if one.stored_name else Segment(one.value, f"label {one.value}") for one in named_so]


def named_segments(label_info: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """The entries of `label_info` by the values of the label. Raises `InputError` if they cannot be read."""
    entries = label_info.get("label_info") or []
    try:
        return {int(entry.get("idx", order)): entry for order, entry in enumerate(entries, 1)}
    except (TypeError, ValueError, AttributeError, OverflowError):  # the last one for 1e999, which JSON may hold
        raise InputError('label_info must be a list of {"name": text, "idx": number}') from None


def for_dcmqi(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    """What MONAI Label hands to dcmqi of segments: without their names, of which dcmqi takes ASCII only."""
    return [_attributes(segment) for segment in segments]


def name_segments(dataset: Dataset, segments: Sequence[Segment]) -> None:
    """Names the segments of a DICOM-SEG that dcmqi made of them."""
    names = {segment._placeholder: segment.stored_name for segment in segments}
    if not all(name.isascii() for name in names.values()):
        # The file has the character set of its image, which may lack what a name is written in.
        dataset.decode()
        dataset.SpecificCharacterSet = "ISO_IR 192"
    for item in dataset.SegmentSequence:
        item.SegmentDescription = item.SegmentLabel = names[item.SegmentLabel]


def _attributes(segment: Segment) -> dict[str, Any]:
    if "lesion" in segment.name.lower():
        category, kind = ("49755003", "Morphologically Altered Structure"), ("52988006", "Lesion")
    else:
        category, kind = ("85756007", "Tissue"), ("85756007", "Tissue")
    return {
        "name": segment._placeholder,
        "model_name": "ActiveFreq",
        "segmentAttribute": {
            "labelID": segment.value,
            "SegmentLabel": segment._placeholder,
            "SegmentDescription": segment._placeholder,
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
