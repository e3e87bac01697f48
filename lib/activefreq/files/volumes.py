"""Reading volumes and label maps with their geometry."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import cast

import nibabel
import numpy as np
import SimpleITK as sitk
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from activefreq.errors import InputError
from activefreq.files.checks import (
    existing_file,
    grey_labels,
    image_values,
    integer_labels,
    label_values,
    last_line,
    listed,
    utf8_path,
)
from activefreq.files.formats import DICOM, NIFTI, is_dicom, is_nifti, may_be_slice, volume_reader
from activefreq.files.frames import FrameStack, stack_frames
from activefreq.files.grids import Geometry, Volume
from activefreq.files.headers import check_data_file
from activefreq.files.raster import is_raster, raster_reader, raster_shape, read_raster, read_raster_labels
from activefreq.files.segmentations import is_segmentation, read_segmentation
from activefreq.files.series_grid import SlicePlace, check_slices

MAX_VOXELS = 1_000_000_000
"""Default limit of a volume's voxels, and of an image's pixels where a volume is read."""

_BROKEN_NIFTI = (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError)
_STORED_AS = ("0028|0100", "0028|0101", "0028|0103", "0028|1052", "0028|1053")
"""DICOM's bits, sign, intercept and slope."""
_POSITION, _ORIENTATION, _SPACING = "0020|0032", "0020|0037", "0028|0030"
_FLAT = 1e-3
"""The smallest determinant of directions that are told apart."""


def read_volume(path: str | os.PathLike[str], *, series: str | None = None, max_voxels: int = MAX_VOXELS) -> Volume:
    """Reads a volume: NIfTI, NRRD, MetaImage, a DICOM file or folder of a series, or a picture as one slice.

    DICOM's rescaling is applied, MONOCHROME1 is inverted, an alpha channel is dropped, voxels without a value are
    filled (see `activefreq.files.gaps`). A 2D image becomes a volume of one slice. The geometry of a picture is what
    ITK gives it (a 72 dpi JPEG has 0.3528 mm pixels).

    Args:
        path: File or folder.
        series: SeriesInstanceUID, where a folder holds several series.
        max_voxels: Larger volumes are refused by their header, before they take memory.

    Raises:
        InputError: The file is missing, damaged, empty, larger than `max_voxels`, 4D, sheared, complex, in
            another format, holds no finite value, or names a file that it may not (see
            `activefreq.files.headers`); the folder holds no DICOM series, or several and none is named.
    """
    path = Path(path)
    if path.is_dir():
        return _read_files(path, series_files(path, series), max_voxels, image_values)
    existing_file(path)
    if is_raster(path):
        array = read_raster(path, max_pixels=max_voxels)[None]
        return Volume(array, _raster_geometry(path, array.shape[1], array.shape[2]))
    return _read_files(path, [str(path)], max_voxels, image_values)


def read_label_volume(path: str | os.PathLike[str], *, max_voxels: int = MAX_VOXELS) -> Volume:
    """Reads a label map (K, J, I) of integers; raises `InputError` as `read_volume`, or if it is none.

    A DICOM segmentation gives the numbers of its segments, see `read_segmentation`.
    """
    path = Path(path)
    if path.is_file() and is_raster(path):
        labels = read_raster_labels(path, max_pixels=max_voxels)[None]
        return Volume(labels, _raster_geometry(path, labels.shape[1], labels.shape[2]))
    files = series_files(path) if path.is_dir() else [str(existing_file(path))]
    if _is_segmentation(path, files[0]):
        if len(files) > 1:
            raise InputError(f"{path}: holds {len(files)} DICOM segmentations, but one is needed")
        return read_segmentation(Path(files[0]), max_voxels=max_voxels)
    volume = _read_files(path, files, max_voxels, label_values)
    labels = volume.array if volume.array.ndim == 3 else grey_labels(path, volume.array)
    return Volume(integer_labels(path, labels), volume.geometry)


def read_geometry(path: str | os.PathLike[str], *, max_voxels: int = MAX_VOXELS) -> Geometry:
    """Reads the grid of a volume without its voxels (for a DICOM folder: with them); raises `InputError`."""
    path = Path(path)
    if path.is_dir():
        return read_volume(path, max_voxels=max_voxels).geometry
    existing_file(path)
    if is_raster(path):
        return _raster_geometry(path, *raster_shape(path, max_pixels=max_voxels))
    _refuse_segmentation(path, str(path))
    reader = volume_reader(path)
    header = _read_header(path, str(path), reader, 1, max_voxels)
    frames = _stack(path, str(path), reader, header)
    return _header_geometry(path, header) if frames is None else frames.geometry


def series_files(folder: str | os.PathLike[str], series: str | None = None) -> list[str]:
    """Lists the files of a DICOM series in a folder, ordered by their position along the slice normal.

    Raises:
        InputError: There is no series, or not the named one, or several and none is named; a name is not UTF-8; a
            file that is named .dcm, or begins as DICOM, is damaged.
    """
    folder = utf8_path(folder)
    for file in folder.iterdir():
        utf8_path(file)
    found = {uid: _listed_files(folder, uid) for uid in _series_ids(folder)}
    _refuse_left_out(folder, {Path(file).name for files in found.values() for file in files})
    if not found:
        raise InputError(f"{folder}: the folder holds no DICOM series")
    if series is None and len(found) > 1:
        raise InputError(f"{folder}: holds {len(found)} DICOM series, name one of {', '.join(found)}")
    if series is not None and series not in found:
        raise InputError(f"{folder}: holds no DICOM series {series}, only {', '.join(found)}")
    return found[series or next(iter(found))]


def _read_image(file: str | os.PathLike[str], reader: str) -> sitk.Image:
    """Reads a file with one of ITK's readers; raises `RuntimeError` for what that cannot read."""
    return sitk.ReadImage(str(file), sitk.sitkUnknown, reader)


def _series_ids(folder: Path) -> tuple[str, ...]:
    with _without_warnings():
        return sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))


def _listed_files(folder: Path, series: str) -> list[str]:
    with _without_warnings():
        return list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series))


def _refuse_left_out(folder: Path, taken: Collection[str]) -> None:
    """Raises `InputError` for a file that GDCM leaves out of all series because it cannot read it.

    Of a slice at either end no gap would tell. Objects that are no images (reports, presentation states) may be there.
    """
    for path in sorted(folder.iterdir()):
        if path.name in taken or path.name.startswith(".") or path.name.upper() == "DICOMDIR" or not path.is_file():
            continue
        if (path.suffix.lower() == ".dcm" or is_dicom(path)) and may_be_slice(path):
            raise InputError(f"{path}: cannot be read, and the series would lack it; is it damaged?")


def _is_segmentation(path: Path, file: str) -> bool:
    """Whether a file, or the first one of a folder of DICOM files, is a DICOM segmentation."""
    return (path.is_dir() or volume_reader(path) == DICOM) and is_segmentation(Path(file))


def _refuse_segmentation(path: Path, file: str) -> None:
    """ITK would read one as a stack of its frames, whatever segment and place each is of."""
    if _is_segmentation(path, file):
        raise InputError(f"{path}: is a DICOM segmentation, which is a label and no image")


def _read_files(
    path: Path, files: Sequence[str], max_voxels: int, checked: Callable[[Path, np.ndarray], np.ndarray]
) -> Volume:
    """Reads files of one volume; `checked` returns its voxels as they are used, or raises `InputError`."""
    _refuse_segmentation(path, files[0])
    # A folder's files may have any names, and were found by what is in them.
    reader = DICOM if path.is_dir() else volume_reader(path)
    header = _read_header(path, files[0], reader, len(files), max_voxels)
    if reader == NIFTI:
        return Volume(checked(path, _nifti_voxels(path)), _header_geometry(path, header))
    if len(files) > 1 and _has_depth(header):
        # ITK would answer in four dimensions.
        raise InputError(f"{path}: has {len(files)} files of several frames each, but one of these is a volume")
    try:
        image = _read_series(path, files) if len(files) > 1 else _read_image(files[0], reader)
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read ({last_line(error)})") from error
    array = checked(path, sitk.GetArrayFromImage(image))
    if image.GetNumberOfComponentsPerPixel() > 1:
        array = array[..., :3]
    if image.GetDimension() == 2:
        array = array[None]
    if len(files) == 1:
        frames = _stack(path, files[0], reader, header)
        if frames is not None:
            return Volume(array[list(frames.order)], frames.geometry)
        return Volume(array, _header_geometry(path, header))
    slices, rows, columns = array.shape[:3]
    return Volume(array, Geometry((slices, rows, columns), image.GetSpacing(), image.GetOrigin(), image.GetDirection()))


def _read_series(path: Path, files: Sequence[str]) -> sitk.Image:
    """Raises `InputError` if the slices are on no upright grid, `RuntimeError` for what ITK cannot read."""
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO(DICOM)
    reader.SetFileNames(files)
    reader.MetaDataDictionaryArrayUpdateOn()
    with _without_warnings():
        image = reader.Execute()
    scales = {
        tuple(reader.GetMetaData(index, tag) for tag in _STORED_AS if reader.HasMetaDataKey(index, tag))
        for index in range(len(files))
    }
    if len(scales) > 1:
        # ITK gives all slices the first one's type, in which others may be rounded, or overflow.
        reader.SetOutputPixelType(
            sitk.sitkVectorFloat32 if image.GetNumberOfComponentsPerPixel() > 1 else sitk.sitkFloat32
        )
        with _without_warnings():
            image = reader.Execute()
    check_slices(path, [_place(reader, index) for index in range(len(files))])
    return image


def _place(reader: sitk.ImageSeriesReader, index: int) -> SlicePlace:
    def numbers(tag: str) -> tuple[float, ...] | None:
        text = reader.GetMetaData(index, tag) if reader.HasMetaDataKey(index, tag) else ""
        return tuple(float(part) for part in text.split("\\")) if text.strip() else None

    return SlicePlace(numbers(_POSITION), numbers(_ORIENTATION), numbers(_SPACING))


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """ITK's warnings would only repeat what is said otherwise."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _nifti_voxels(path: Path) -> np.ndarray:
    """Voxels (K, J, I) or (K, J, I, 3) of a NIfTI file whose header ITK accepts.

    ITK itself reads the missing end of a truncated NIfTI, and NaN in it, as zeros without a word. Scaled integers of up
    to 16 bits are float32, which tells them apart, and not float64: a CT would take twice the memory.
    """
    try:
        stored = cast(ArrayProxy, nibabel.Nifti1Image.from_filename(path).dataobj)
        short = stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2
        scaled = (stored.slope, stored.inter) != (1, 0)
        voxels = np.array(stored, np.float32 if short and scaled else None)
    except _BROKEN_NIFTI as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if voxels.dtype.names:
        voxels = np.stack([voxels[channel] for channel in voxels.dtype.names[:3]], axis=-1)
        colour = True
    else:
        # (I, J, K, 1, C) is how NIfTI stores colour.
        colour = voxels.ndim == 5 and voxels.shape[4] in (3, 4)
        voxels = voxels[:, :, :, 0, :3] if colour else voxels
        voxels = voxels.astype(voxels.dtype.newbyteorder("="), copy=False)
    spatial = voxels.shape[:-1] if colour else voxels.shape
    width, height, slices = (*spatial, 1, 1)[:3]
    voxels = voxels.reshape((width, height, slices, 3) if colour else (width, height, slices), order="A")
    return np.ascontiguousarray(voxels.transpose((2, 1, 0, 3) if colour else (2, 1, 0)))


def _read_header(path: Path, file: str, itk_reader: str, files: int, max_voxels: int) -> sitk.ImageFileReader:
    check_data_file(Path(file), itk_reader)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(itk_reader)
    reader.SetFileName(file)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read ({last_line(error)})") from error
    size = reader.GetSize()
    if len(size) > 3:
        raise InputError(f"{path}: has {len(size)} dimensions ({' x '.join(map(str, size))}), but 3 are needed")
    voxels = files * int(np.prod(size, dtype=np.int64))
    if voxels > max_voxels:
        raise InputError(f"{path}: its {voxels} voxels are more than the limit of {max_voxels}")
    if voxels == 0:
        raise InputError(f"{path}: holds no voxels")
    if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
        raise InputError(f"{path}: holds complex numbers")
    if reader.GetNumberOfComponents() not in (1, 3, 4):
        values = reader.GetNumberOfComponents()
        raise InputError(f"{path}: has {values} values a voxel, but 1 (grey) or 3 (colour) are needed")
    return reader


def _stack(path: Path, file: str, itk_reader: str, header: sitk.ImageFileReader) -> FrameStack | None:
    """How the frames of a DICOM file lie; None for other files. Raises `InputError`."""
    return stack_frames(path, Path(file)) if itk_reader == DICOM and _has_depth(header) else None


def _has_depth(header: sitk.ImageFileReader) -> bool:
    size = header.GetSize()
    return len(size) > 2 and size[2] > 1


def _header_geometry(path: Path, reader: sitk.ImageFileReader) -> Geometry:
    """Raises `InputError` for a header without a grid: a spacing of 0 or NaN, directions that coincide."""
    size, spacing, origin = reader.GetSize(), reader.GetSpacing(), reader.GetOrigin()
    direction = np.reshape(reader.GetDirection(), (len(size), len(size)))
    if len(size) == 2:
        size, spacing, origin = (*size, 1), (*spacing, 1.0), (*origin, 0.0)
        direction = np.pad(direction, (0, 1))
        direction[2, 2] = 1.0
        # ITK reads a NIfTI of one RGB slice, (W, H, 1, 1, 3), as 2D: the third axis is in the header only.
        affine = _nifti_affine(path) if is_nifti(path) else None
        if affine is not None:
            return _checked(path, _nifti_geometry((1, size[1], size[0]), affine))
    # As ITK does where it reads the voxels too: an axis of negative spacing runs the other way.
    columns = direction * np.where(np.asarray(spacing) < 0, -1.0, 1.0) + 0.0  # no -0
    positive = tuple(abs(step) for step in spacing)
    return _checked(path, Geometry((size[2], size[1], size[0]), positive, origin, tuple(columns.ravel().tolist())))


def _checked(path: Path, geometry: Geometry) -> Geometry:
    numbers = np.array((*geometry.spacing, *geometry.origin, *geometry.direction))
    volume = np.linalg.det(np.reshape(geometry.direction, (3, 3))) if np.isfinite(numbers).all() else 0.0
    if min(geometry.spacing) <= 0 or abs(volume) < _FLAT:
        raise InputError(
            f"{path}: its header gives no grid in space: spacing {listed(geometry.spacing)}, "
            f"origin {listed(geometry.origin)}, directions {listed(geometry.direction)}"
        )
    return geometry


def _nifti_affine(path: Path) -> np.ndarray | None:
    """The affine (4, 4), in RAS, that a NIfTI header has; None where its codes say that it has none.

    What nibabel makes up then has its origin in the middle and x mirrored, which ITK's, and so Slicer's, has not.
    """
    try:
        header = nibabel.Nifti1Image.from_filename(path).header
    except _BROKEN_NIFTI as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    return header.get_best_affine() if header["sform_code"] > 0 or header["qform_code"] > 0 else None


def _nifti_geometry(shape: tuple[int, int, int], affine: np.ndarray) -> Geometry:
    """Geometry in LPS of a NIfTI affine (4, 4), which is in RAS."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    direction = lps[:3, :3] / np.where(spacing == 0, 1.0, spacing)
    return Geometry(shape, tuple(spacing), tuple(lps[:3, 3]), tuple(direction.ravel()))


def _raster_geometry(path: Path, height: int, width: int) -> Geometry:
    reader = sitk.ImageFileReader()
    reader.SetImageIO(raster_reader(path))
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        # Pictures that ITK cannot read (1 bit BMP) have no geometry for its users either.
        return Geometry((1, height, width))
    column, row = reader.GetSpacing()[:2]
    return Geometry((1, height, width), (column, row, 1.0))
