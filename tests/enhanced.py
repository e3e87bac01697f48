"""DICOM files of several frames, made of a series."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from pydicom.dataset import Dataset

ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
_MEASURES = ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices")


def enhanced(slices: Sequence[Dataset]) -> Dataset:
    """The Enhanced MR image whose frames, in their order, are slices of uncompressed grey values."""
    made = copy.deepcopy(slices[0])
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = ENHANCED_MR
    made.NumberOfFrames = len(slices)
    made.PixelData = b"".join(one.PixelData[: one.Rows * one.Columns * one.BitsAllocated // 8] for one in slices)
    made.SharedFunctionalGroupsSequence = [Dataset()]
    (shared,) = made.SharedFunctionalGroupsSequence
    shared.PixelMeasuresSequence = [_moved(made, _MEASURES)]
    shared.PlaneOrientationSequence = [_moved(made, ["ImageOrientationPatient"])]
    del made.ImagePositionPatient
    frames = []
    for number, one in enumerate(slices, 1):
        frame, content, place = Dataset(), Dataset(), Dataset()
        content.StackID, content.InStackPositionNumber, content.DimensionIndexValues = "1", number, [number]
        frame.FrameContentSequence = [content]
        place.ImagePositionPatient = one.ImagePositionPatient
        frame.PlanePositionSequence = [place]
        frames.append(frame)
    made.PerFrameFunctionalGroupsSequence = frames
    return made


def _moved(dataset: Dataset, keywords: Sequence[str]) -> Dataset:
    """These elements, taken out of a dataset."""
    made = Dataset()
    for keyword in keywords:
        setattr(made, keyword, dataset[keyword].value)
        delattr(dataset, keyword)
    return made
