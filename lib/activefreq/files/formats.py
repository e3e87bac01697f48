"""Which of ITK's readers reads which file: by the file's name, never by what is in it.

Left alone, ITK asks every reader that it has, and takes the first that knows the content. Some of them open other files
that the content names (HDF5 with external storage, headers of NRRD and MetaImage), so that whoever sends a file to a
server would choose what the server reads.
"""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom.uid import UID

from activefreq.errors import InputError

DICOM = "GDCMImageIO"
META = "MetaImageIO"
NIFTI = "NiftiImageIO"
NRRD = "NrrdImageIO"

_READERS = {
    ".nii": NIFTI,
    ".nii.gz": NIFTI,
    ".nrrd": NRRD,
    ".nhdr": NRRD,
    ".mha": META,
    ".mhd": META,
    ".dcm": DICOM,
}
VOLUME_SUFFIXES = tuple(_READERS)
"""Of volumes that can be read; DICOM files may have any other, or none."""

_DICOM_MAGIC = (128, b"DICM")


def volume_reader(path: Path) -> str:
    """The name of ITK's reader for a file, in any case of its extension; raises `InputError` if there is none."""
    for suffix, reader in _READERS.items():
        if path.name.lower().endswith(suffix):
            return reader
    if is_dicom(path):
        return DICOM
    raise InputError(f"{path}: is no DICOM file, and its extension none that is read ({', '.join(VOLUME_SUFFIXES)})")


def is_nifti(path: Path) -> bool:
    """By its name, like all that is no DICOM."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def is_dicom(path: Path) -> bool:
    """True for a file that begins as DICOM files do."""
    offset, magic = _DICOM_MAGIC
    with path.open("rb") as file:
        return file.read(offset + len(magic))[offset:] == magic


def may_be_slice(path: Path) -> bool:
    """False for a DICOM file that is whole and no image, such as a report; True for one that is damaged, too."""
    try:
        header = pydicom.dcmread(path, specific_tags=["SOPClassUID", "Rows"])
    except Exception:  # pydicom raises anything for what is damaged
        return True
    kind = header.get("SOPClassUID")
    return kind is None or "Rows" in header or "Image Storage" in UID(kind).name
