"""Plain copies of a series, for dcmqi, which writes a DICOM-SEG of an image only where it likes all of its header.

Many archives hold images of which something breaks DICOM's rules, such as an age without a unit, or two descriptions
where there may be one; of others, all slices are in one file (Enhanced MR and CT). dcmqi writes nothing then. So it is
given a file for each slice that says where the slice lies and no more, and what it makes of them gets the rest as it is
in the image: an archive that took that with the image takes it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from activefreq.errors import InputError
from activefreq.files.frames import frame_places
from activefreq.files.series_grid import SlicePlace

_PARTICULARS = (
    "SpecificCharacterSet",
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
"""What dcmqi takes over from an image beside its UIDs: found by giving it one with 900 attributes."""


def read_headers(series: Path) -> list[Dataset]:
    """What the files of a folder say, but for their pixels."""
    return [pydicom.dcmread(file, stop_before_pixels=True) for file in sorted(series.iterdir())]


def write_plain_copies(images: Sequence[Dataset], target: Path) -> None:
    """Writes a file for each slice of a series into a folder, without particulars and with blank pixels.

    Raises:
        InputError: A slice does not say where it lies.
    """
    number = 0
    for image in images:
        for frame, place in enumerate(frame_places(image)):
            number += 1
            _plain_slice(image, frame, place, number).save_as(target / f"{number:06d}.dcm", write_like_original=False)


def complete(dataset: Dataset, images: Sequence[Dataset]) -> None:
    """Makes a DICOM-SEG of plain copies one of their series: its particulars, and what it refers to.

    Particulars are those of the first file, and as they are there, right or wrong.
    """
    for keyword in _PARTICULARS:
        tag = Tag(keyword)
        if tag in dataset:
            del dataset[tag]
        said = images[0].get(tag)
        # A decimal that is none stays text, and ends whoever reads it as JSON.
        if said is not None and not (said.VR == "DS" and isinstance(said.value, str)):
            dataset[tag] = said
    frames = {_frame_uid(image, frame): (image, frame) for image in images for frame in range(_frames(image))}
    for item in _references(dataset):
        image, frame = frames[item.ReferencedSOPInstanceUID]
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
        if _has_frames(image):
            item.ReferencedFrameNumber = frame + 1
    for item in dataset.ReferencedSeriesSequence:
        item.ReferencedInstanceSequence = [_reference(image) for image in images]


def _references(dataset: Dataset) -> Iterator[Dataset]:
    """The images that the frames of a DICOM-SEG are derived from."""
    for group in dataset.PerFrameFunctionalGroupsSequence:
        for derivation in group.get("DerivationImageSequence") or ():
            yield from derivation.SourceImageSequence


def _reference(image: Dataset) -> Dataset:
    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return made


def _has_frames(image: Dataset) -> bool:
    return "PerFrameFunctionalGroupsSequence" in image


def _frames(image: Dataset) -> int:
    return len(image.PerFrameFunctionalGroupsSequence) if _has_frames(image) else 1


def _frame_uid(image: Dataset, frame: int) -> str:
    """The UID of a plain copy: the slice's own where it is a file by itself."""
    if not _has_frames(image):
        return str(image.SOPInstanceUID)
    return str(generate_uid(entropy_srcs=[str(image.SOPInstanceUID), str(frame)]))


def _plain_slice(image: Dataset, frame: int, place: SlicePlace, number: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage if image.get("Modality") == "CT" else MRImageStorage
    meta.MediaStorageSOPInstanceUID = _frame_uid(image, frame)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.is_little_endian, made.is_implicit_VR = True, False
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    made.StudyInstanceUID, made.SeriesInstanceUID = image.StudyInstanceUID, image.SeriesInstanceUID
    # A missing one is made up, the same for all slices.
    made.FrameOfReferenceUID = image.get("FrameOfReferenceUID") or generate_uid(
        entropy_srcs=[str(image.SeriesInstanceUID)]
    )
    made.Modality = image.get("Modality", "MR")
    made.InstanceNumber = number
    if place.position is None or place.orientation is None or place.spacing is None:
        raise InputError("the image's header does not say where its slices lie, as a DICOM-SEG has to")
    made.ImagePositionPatient, made.ImageOrientationPatient = list(place.position), list(place.orientation)
    made.PixelSpacing = list(place.spacing)
    made.Rows, made.Columns = image.Rows, image.Columns
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
    # dcmqi reads none of them, and nothing without them.
    blank = np.zeros(image.Rows * image.Columns, np.uint8).tobytes()
    made.PixelData = blank + b"\0" * (len(blank) % 2)
    made["PixelData"].VR = "OB"
    return made
