"""Writing masks and volumes on their grids: whole, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from activefreq.errors import InputError
from activefreq.files.atomic import atomic_write
from activefreq.files.checks import last_line, utf8_path
from activefreq.files.formats import NIFTI, is_nifti
from activefreq.files.grids import Geometry, Volume

_FLAT_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})


def write_mask(
    path: str | os.PathLike[str], mask: np.ndarray, *, like: Volume | Geometry, compress: bool = True
) -> None:
    """Writes a mask or label map on the grid of an image, atomically.

    The extension gives the format: any that SimpleITK writes (nrrd, nii, nii.gz, mha, mhd, tif, ...); those
    of plain pictures (png, jpg, bmp) take one slice.

    Args:
        path: The target.
        mask: (K, J, I) bool or unsigned integers up to 65535, or (H, W) where the image has one slice. True
            becomes 1.
        like: The image, or its geometry.
        compress: Where the format leaves the choice.

    Raises:
        InputError: The shape does not fit the image, the dtype does not fit a label map, or no format fits
            the extension.
        OSError: The disk is full (`errno.ENOSPC`).
    """
    path = Path(path)
    geometry = like.geometry if isinstance(like, Volume) else like
    array = np.asarray(mask)
    if array.ndim == 2:
        array = array[None]
    if array.shape != geometry.shape:
        raise InputError(f"a mask of shape {np.shape(mask)} does not fit the image of shape {geometry.shape}")
    if array.dtype not in (np.bool_, np.uint8, np.uint16):
        raise InputError(f"a mask must be bool, uint8 or uint16, not {array.dtype}")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    image = geometry.apply_to(sitk.GetImageFromArray(array))
    if path.suffix.lower() in _FLAT_SUFFIXES:
        if len(array) != 1:
            raise InputError(f"{path}: this format takes one slice, but the mask has {len(array)}")
        image = sitk.GetImageFromArray(array[0])
    _write_whole(path, image, compress=compress)


def write_volume(path: str | os.PathLike[str], volume: Volume) -> None:
    """Writes a volume with its geometry, compressed where the format can, atomically.

    Args:
        path: The target; its extension gives the format, of those that hold volumes (nrrd, nii, nii.gz, mha, mhd).
        volume: Grey or colour.

    Raises:
        InputError: The format does not hold such voxels.
        OSError: The disk is full (`errno.ENOSPC`).
    """
    image = sitk.GetImageFromArray(volume.array, isVector=volume.array.ndim == 4)
    _write_whole(Path(path), volume.geometry.apply_to(image), compress=True)


def _write_whole(path: Path, image: sitk.Image, *, compress: bool) -> None:
    """Raises `InputError` for what ITK cannot write, `OSError` (`errno.ENOSPC`) if the disk is full."""
    utf8_path(path)
    voxels = sitk.GetArrayViewFromImage(image)
    with atomic_write(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=compress)
            # On a full disk ITK ends a NIfTI early without a word. One colour slice comes back without its third axis.
            whole = not is_nifti(path) or np.array_equal(
                sitk.GetArrayFromImage(sitk.ReadImage(str(temporary), sitk.sitkUnknown, NIFTI)).ravel(), voxels.ravel()
            )
        except RuntimeError as error:
            if shutil.disk_usage(temporary.parent).free > voxels.nbytes:
                raise InputError(f"{path}: cannot be written ({last_line(error)})") from error
            whole = False
        if not whole:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
