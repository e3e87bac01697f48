"""Plain 2D pictures (jpg, png, tif, bmp), as they are stored.

An EXIF orientation tag is *not* applied: 3D Slicer, ITK and MONAI Label do not apply it either, and a mask
must lie on the pixels that the annotator saw. Pillow decodes what it decodes without loss (it reports
truncated files, which ITK fills with grey); SimpleITK takes colour of 16 bits a channel.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image, ImageFile, UnidentifiedImageError

from activefreq.errors import InputError
from activefreq.files.checks import existing_file, finite, grey_labels, integer_labels, last_line, utf8_path

RASTER_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"})
_READERS = {
    "JPEG": "JPEGImageIO",
    "PNG": "PNGImageIO",
    "TIFF": "TIFFImageIO",
    "BMP": "BMPImageIO",
}
"""ITK's, by Pillow's formats. No other format is tried: some have programs started (EPS), or open other files."""
_BROKEN = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
_TO_RGB = frozenset({"P", "PA", "CMYK", "YCbCr", "LAB", "HSV", "RGBA", "RGBX", "RGBa"})
_TO_GREY = frozenset({"1", "LA", "La"})
_ORIENTATION_TAG = 274


def is_raster(path: str | os.PathLike[str]) -> bool:
    """True where the extension is a plain picture's, in any case: jpg, jpeg, png, tif, tiff, bmp."""
    return Path(path).suffix.lower() in RASTER_SUFFIXES


def read_raster(path: str | os.PathLike[str], *, max_pixels: int) -> np.ndarray:
    """Reads a picture.

    Palettes and CMYK become RGB, an alpha channel is dropped, black and white becomes 0 and 255.

    Returns:
        (H, W) or (H, W, 3) in the dtype of the file.

    Raises:
        InputError: The file cannot be used; the message says why.
    """
    path = existing_file(path)
    with _open(path, max_pixels) as picture:
        if _has_deep_colour(picture):
            return _read_deep_colour(path, _itk_reader(picture))
        if picture.mode in _TO_RGB:
            return _decode(path, picture, "RGB")
        if picture.mode in _TO_GREY:
            return _decode(path, picture, "L")
        return finite(path, _decode(path, picture))


def read_raster_labels(path: str | os.PathLike[str], *, max_pixels: int) -> np.ndarray:
    """Reads a label map from a picture.

    A palette picture gives its indices, which are the labels, not its colours. RGB must have equal channels.
    JPEG blurs labels, so only a mask can be read from it: 0 and 255, cut at half of its maximum.

    Returns:
        (H, W) integers.

    Raises:
        InputError: The file cannot be used, or is no label map.
    """
    path = existing_file(path)
    with _open(path, max_pixels) as picture:
        if picture.mode == "P":
            return _decode(path, picture)
        if picture.format in {"JPEG", "MPO"}:
            grey = _decode(path, picture, "L")
            return np.where(grey > grey.max() / 2, 255, 0).astype(np.uint8)
    labels = read_raster(path, max_pixels=max_pixels)
    return integer_labels(path, labels if labels.ndim == 2 else grey_labels(path, labels))


def raster_shape(path: str | os.PathLike[str], *, max_pixels: int) -> tuple[int, int]:
    """Returns (H, W) from the header alone; raises `InputError` if that cannot be used."""
    with _open(existing_file(path), max_pixels) as picture:
        return picture.height, picture.width


def raster_reader(path: str | os.PathLike[str]) -> str:
    """The name of ITK's reader for a picture, by what is in it; raises `InputError` if that is no picture."""
    with _identified(utf8_path(path)) as picture:
        return _itk_reader(picture)


def _identified(path: Path) -> ImageFile.ImageFile:
    try:
        return Image.open(path, formats=list(_READERS))
    except UnidentifiedImageError:
        raise InputError(f"{path}: is no picture, or its beginning is damaged") from None
    except _BROKEN as error:
        raise InputError(f"{path}: cannot be read ({error})") from error


def _open(path: Path, max_pixels: int) -> ImageFile.ImageFile:
    picture = _identified(path)
    if picture.width * picture.height > max_pixels:
        raise InputError(
            f"{path}: its {picture.width} x {picture.height} pixels are more than the limit of {max_pixels}"
        )
    try:
        frames = getattr(picture, "n_frames", 1)
        orientation = picture.getexif().get(_ORIENTATION_TAG, 1) if picture.format == "TIFF" else 1
    except (*_BROKEN, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    # Cameras append previews to a JPEG ("MPO"): the first picture is the image.
    if frames > 1 and picture.format != "MPO":
        raise InputError(f"{path}: holds {frames} pictures, but one is needed")
    if orientation != 1:
        raise InputError(f"{path}: is a turned or mirrored TIFF, which programs read differently; save it upright")
    return picture


def _itk_reader(picture: ImageFile.ImageFile) -> str:
    # Pillow calls a JPEG with appended previews "MPO".
    return _READERS.get(str(picture.format), _READERS["JPEG"])


def _has_deep_colour(picture: ImageFile.ImageFile) -> bool:
    """True for colour of 16 bits a channel, of which Pillow would keep 8."""
    return picture.mode in {"RGB", "RGBA"} and any(";16" in str(tile[3]) for tile in picture.tile)


def _read_deep_colour(path: Path, reader: str) -> np.ndarray:
    try:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path), sitk.sitkUnknown, reader))[..., :3]
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be decoded ({last_line(error)})") from error


def _decode(path: Path, picture: Image.Image, mode: str | None = None) -> np.ndarray:
    try:
        array = np.array(picture.convert(mode) if mode else picture)
    except _BROKEN as error:
        raise InputError(f"{path}: cannot be decoded ({error})") from error
    return array.astype(array.dtype.newbyteorder("="), copy=False)
