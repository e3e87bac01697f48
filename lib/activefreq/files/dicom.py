"""Images and volumes as DICOM series that OHIF's MONAI Label mode opens.

OHIF accepts modality CT or MR there and lays the series out as a volume, so a series needs an orientation, slice
positions, a frame of reference and more than one slice. A single image becomes `SINGLE_IMAGE_SLICES` identical
slices; its mask belongs to whichever of them was clicked.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)
from pydicom.valuerep import format_number_as_ds

from activefreq.errors import InputError
from activefreq.files.atomic import atomic_write
from activefreq.files.grids import Geometry, Volume

SINGLE_IMAGE_SLICES = 3

_NAME_BYTES = 64  # the longest value of LO and PN (DICOM PS3.5, 6.2: characters; some readers count bytes)
_NAME_FORBIDDEN = str.maketrans(dict.fromkeys("\\^=", "_"))
_PREAMBLE = b"\0" * 128
_DISPLAY_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class DicomSeries:
    """A study with one series in it.

    Attributes:
        name: What the image is called: the patient's ID and name, and the description of the study.
        slices: The datasets in the order of the volume's k, file meta information included.
    """

    name: str
    slices: tuple[Dataset, ...]

    @property
    def study_uid(self) -> str:
        return str(self.slices[0].StudyInstanceUID)

    @property
    def series_uid(self) -> str:
        return str(self.slices[0].SeriesInstanceUID)


def dicom_series(volume: Volume, *, name: str) -> DicomSeries:
    """Makes a DICOM series of a volume or an image.

    All unique identifiers follow from the name, the pixels and the geometry: the same image makes the same study
    whenever and wherever it is made.

    Args:
        volume: (K, J, I) of any integer or float type, or (K, J, I, 3) uint8 or uint16 colour. One slice becomes
            `SINGLE_IMAGE_SLICES`, itself in the middle and in its place.
        name: Names the patient and the study; characters with a meaning of their own in DICOM are replaced there.

    Returns:
        The series, slice k of the volume at place k. Grey values give MR images of 16 bits: integers that fit are
        stored as they are, other values are spread over 0..65535 and come back, within half a step, by the rescale
        slope and intercept. Colours give RGB secondary captures of 8 bits whose modality is MR, since OHIF's
        MONAI Label mode lists only CT and MR.

    Raises:
        InputError: For other types and shapes, no voxels, values that are not finite.
    """
    if volume.array.size == 0:
        raise InputError(f"{name}: has no voxels, its shape is {volume.array.shape}")
    volume = _with_neighbours(volume)
    pixels, shared = (_colour if volume.array.ndim == 4 else _grey)(volume.array, name)
    digest = _digest(volume, name)
    _describe_series(shared, volume.geometry, digest, name)
    return DicomSeries(name, tuple(_slice(shared, volume.geometry, pixels, k, digest) for k in range(len(pixels))))


def write_dicom(series: DicomSeries, folder: Path) -> list[Path]:
    """Writes a series as `folder`/0001.dcm and so on in the order of k, and returns the files.

    Raises:
        InputError: The folder holds other DICOM files, which would become part of the series.
    """
    files = [folder / f"{dataset.InstanceNumber:04d}.dcm" for dataset in series.slices]
    others = sorted({*folder.glob("*.dcm")} - {*files})
    if others:
        raise InputError(f"{folder} holds another series ({others[0].name} is not of this one): take another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path, dataset in zip(files, series.slices, strict=True):
        with atomic_write(path) as temporary:
            dataset.save_as(temporary, write_like_original=False)
    return files


def _with_neighbours(volume: Volume) -> Volume:
    """Puts copies before and behind a single slice; other volumes stay as they are."""
    if len(volume.array) > 1:
        return volume
    geometry = volume.geometry
    first = geometry.points(np.array([[0, 0, -(SINGLE_IMAGE_SLICES // 2)]]))[0]
    return Volume(
        np.repeat(volume.array, SINGLE_IMAGE_SLICES, axis=0),
        replace(geometry, shape=(SINGLE_IMAGE_SLICES, *geometry.shape[1:]), origin=tuple(first.tolist())),
    )


def _colour(array: np.ndarray, name: str) -> tuple[np.ndarray, Dataset]:
    """Pixels (K, J, I, 3) uint8, and the attributes that say so."""
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    if array.dtype != np.uint8:
        raise InputError(f"{name}: colour images must be of type uint8 or uint16, not {array.dtype}")
    shared = Dataset()
    shared.SOPClassUID = SecondaryCaptureImageStorage
    shared.ConversionType = "WSD"  # workstation
    shared.ImageType = ["DERIVED", "SECONDARY"]
    shared.PhotometricInterpretation = "RGB"
    shared.SamplesPerPixel = 3
    shared.PlanarConfiguration = 0
    # Colours have no window, but OHIF stretches them from their least to their greatest value if it is not given one.
    shared.WindowCenter = "128"
    shared.WindowWidth = "256"
    _describe_bits(shared, bits=8, signed=False)
    return array, shared


def _grey(array: np.ndarray, name: str) -> tuple[np.ndarray, Dataset]:
    """Pixels (K, J, I) uint16 or int16, and the attributes that say so and how to get the values back."""
    if array.dtype.kind not in "uif":
        raise InputError(f"{name}: pixels of type {array.dtype} cannot be stored")
    if not np.isfinite(array).all():
        raise InputError(f"{name}: has values that are not finite")
    pixels, slope, intercept = _sixteen_bits(array)
    low, high = np.percentile(array, _DISPLAY_PERCENTILES)
    shared = Dataset()
    shared.SOPClassUID = MRImageStorage
    shared.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    shared.ScanningSequence = "RM"  # research mode
    shared.SequenceVariant = "NONE"
    shared.ScanOptions = ""
    shared.MRAcquisitionType = ""
    shared.EchoTime = None
    shared.EchoTrainLength = None
    shared.PhotometricInterpretation = "MONOCHROME2"
    shared.SamplesPerPixel = 1
    shared.RescaleSlope = format_number_as_ds(slope)
    shared.RescaleIntercept = format_number_as_ds(intercept)
    shared.RescaleType = "US"  # unspecified
    shared.WindowCenter = format_number_as_ds(float(low + high) / 2)
    shared.WindowWidth = format_number_as_ds(max(float(high - low), 1.0 if slope == 1.0 else slope))
    _describe_bits(shared, bits=16, signed=pixels.dtype == np.int16)
    return pixels, shared


def _sixteen_bits(array: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Returns (pixels of 16 bits, slope, intercept) with pixels * slope + intercept = array."""
    low, high = array.min(), array.max()
    if array.dtype.kind in "ui":
        for dtype in (np.uint16, np.int16):
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                return array.astype(dtype), 1.0, 0.0
    # The slope as a reader will see it, in the 16 characters of a DICOM decimal string.
    slope = float(format_number_as_ds((float(high) - float(low)) / np.iinfo(np.uint16).max)) or 1.0
    intercept = float(format_number_as_ds(float(low)))
    pixels = np.rint((array.astype(np.float64) - intercept) / slope)
    return np.clip(pixels, 0, np.iinfo(np.uint16).max).astype(np.uint16), slope, intercept


def _describe_bits(shared: Dataset, *, bits: int, signed: bool) -> None:
    shared.BitsAllocated = bits
    shared.BitsStored = bits
    shared.HighBit = bits - 1
    shared.PixelRepresentation = int(signed)


def _describe_series(shared: Dataset, geometry: Geometry, digest: str, name: str) -> None:
    """Adds what all slices have in common, whatever their pixels are."""
    _, rows, columns = geometry.shape
    column_spacing, row_spacing, slice_spacing = geometry.spacing
    direction = np.reshape(geometry.direction, (3, 3))
    label = name.translate(_NAME_FORBIDDEN).encode()[:_NAME_BYTES].decode(errors="ignore")
    shared.SpecificCharacterSet = "ISO_IR 192"
    shared.Modality = "MR"
    shared.PatientName = label
    shared.PatientID = label
    shared.PatientBirthDate = ""
    shared.PatientSex = ""
    shared.StudyInstanceUID = _uid(digest, "study")
    shared.StudyDate = ""
    shared.StudyTime = ""
    shared.StudyID = ""
    shared.StudyDescription = label
    shared.AccessionNumber = ""
    shared.ReferringPhysicianName = ""
    shared.SeriesInstanceUID = _uid(digest, "series")
    shared.SeriesNumber = 1
    shared.SeriesDescription = label
    shared.Manufacturer = "ActiveFreq"
    shared.PatientPosition = ""
    shared.Laterality = ""
    shared.FrameOfReferenceUID = _uid(digest, "frame of reference")
    shared.PositionReferenceIndicator = ""
    shared.Rows = rows
    shared.Columns = columns
    shared.PixelSpacing = [format_number_as_ds(row_spacing), format_number_as_ds(column_spacing)]
    shared.SliceThickness = format_number_as_ds(slice_spacing)
    shared.SpacingBetweenSlices = format_number_as_ds(slice_spacing)
    shared.ImageOrientationPatient = [format_number_as_ds(float(c)) for c in direction[:, :2].T.ravel()]


def _slice(shared: Dataset, geometry: Geometry, pixels: np.ndarray, k: int, digest: str) -> Dataset:
    dataset = Dataset()
    dataset.update(shared)
    dataset.SOPInstanceUID = _uid(digest, f"slice {k}")
    dataset.InstanceNumber = k + 1
    dataset.ImagePositionPatient = [format_number_as_ds(c) for c in geometry.points(np.array([[0, 0, k]]))[0].tolist()]
    encoded = pixels[k].astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()
    dataset.PixelData = encoded + b"\0" * (len(encoded) % 2)
    dataset["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    dataset.preamble = _PREAMBLE  # DICOMweb clients send datasets as they are, and servers pass them on without it
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.is_little_endian = True
    dataset.is_implicit_VR = False
    return dataset


def _digest(volume: Volume, name: str) -> str:
    geometry = volume.geometry
    grid = (geometry.shape, *(tuple(map(float, t)) for t in (geometry.spacing, geometry.origin, geometry.direction)))
    digest = hashlib.sha256(repr((name, volume.array.dtype.str, grid)).encode())
    digest.update(np.ascontiguousarray(volume.array).tobytes())
    return digest.hexdigest()


def _uid(digest: str, part: str) -> str:
    return generate_uid(entropy_srcs=[digest, part])
