"""Patient and study of a DICOM-SEG, where its image says of them what dcmqi refuses to write.

A DICOM-SEG repeats what its image says. Many archives hold images of which something breaks DICOM's rules, such as an
age without a unit, or two descriptions where there may be one, and dcmqi writes no file at all then. So it is given
copies without these attributes, and what it makes of them gets them as they are in the image: an archive that took them
with the image takes them again.
"""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.tag import BaseTag, Tag
from pydicom.uid import generate_uid

_REPEATED = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "InstitutionName",
    "InstitutionAddress",
    "ReferringPhysicianName",
    "StationName",
    "StudyDescription",
    "InstitutionalDepartmentName",
    "AdmittingDiagnosesDescription",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "BodyPartExamined",
    "StudyID",
    "PositionReferenceIndicator",
)
"""What dcmqi repeats, but for UIDs and character set: found by giving it an image with 900 attributes."""


def copy_without_particulars(series: Path, target: Path) -> None:
    """Copies a folder of DICOM files without what says whose they are; a missing frame of reference is made up."""
    for file in series.iterdir():
        dataset = pydicom.dcmread(file)
        for tag in _repeated_tags():
            if tag in dataset:
                del dataset[tag]
        if not dataset.get("FrameOfReferenceUID"):
            # The same one for all slices.
            dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=[str(dataset.SeriesInstanceUID)])
        dataset.save_as(target / file.name)


def repeat_particulars(file: Path, series: Path) -> None:
    """Puts into a DICOM-SEG what the first file of its image's series says of patient and study, as it is there."""
    image = pydicom.dcmread(min(series.iterdir()), stop_before_pixels=True)
    dataset = pydicom.dcmread(file)
    for tag in _repeated_tags():
        if tag in image:
            dataset[tag] = image.get_item(tag)
    dataset.save_as(file)


def _repeated_tags() -> list[BaseTag]:
    return [Tag(tag_for_keyword(keyword)) for keyword in _REPEATED]
