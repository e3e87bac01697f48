"""Plain 2D pictures (jpg, png, tif, bmp), as they are stored.

An EXIF orientation tag is *not* applied: 3D Slicer, ITK and MONAI Label do not apply it either, and a mask
must lie on the pixels that the annotator saw. Pillow decodes what it decodes without loss (it reports
truncated files, which ITK fills with grey); SimpleITK takes colour of 16 bits a channel. A TIFF whose 0 is white
(MinIsWhite) is turned into one whose 0 is black.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from activefreq.errors import InputError
from activefreq.files.checks import (
    existing_file,
    grey_labels,
    image_values,
    integer_labels,
    label_values,
    last_line,
    utf8_path,
)

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
_ORIENTATIONS = range(1, 9)
_BITS, _PHOTOMETRIC, _SOFTWARE, _SAMPLE_FORMAT = 258, 262, 305, 339
"""Of TIFF."""
_MIN_IS_WHITE = 0
_UNSIGNED, _SIGNED = 1, 2
_FAINTEST = 32
"""The least maximum of a JPEG that holds a mask: what is fainter is the noise of an empty one."""


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
    return image_values(path, _read(path, max_pixels))


def _read(path: Path, max_pixels: int) -> np.ndarray:
    """The pixels as `read_raster` returns them, whatever their values are."""
    with _open(path, max_pixels) as picture:
        if _is_deep_grey_with_alpha(picture):
            return _decode_deep_grey(path, picture)
        if _has_deep_colour(picture):
            return _read_deep_colour(path, _itk_reader(picture))
        if picture.mode in _TO_RGB:
            return _decode(path, picture, "RGB")
        if picture.mode in _TO_GREY:
            return _decode(path, picture, "L")
        return _as_tagged(path, picture, _decode(path, picture))


def read_raster_labels(path: str | os.PathLike[str], *, max_pixels: int) -> np.ndarray:
    """Reads a label map from a picture.

    A palette picture gives its indices, which are the labels, not its colours; but one of greys alone in which
    index 0 is not the darkest gives the greys, since what is black there was meant to be 0. RGB must have equal
    channels. JPEG blurs labels, so only a mask can be read from it: 0 and 255, cut at half of its maximum, and empty
    where that is no more than noise. Of a TIFF of one bit whose 0 is white, white is 1, but of one that tifffile
    (scikit-image, imageio) wrote the bits are the labels: it stores True as 1 and calls that black.

    Returns:
        (H, W) integers.

    Raises:
        InputError: The file cannot be used, or is no label map.
    """
    path = existing_file(path)
    with _open(path, max_pixels) as picture:
        if picture.mode == "P":
            return _palette_labels(path, picture)
        if _min_is_white(picture):
            return _min_is_white_labels(path, picture)
        if picture.format in {"JPEG", "MPO"}:
            grey = _decode(path, picture, "L")
            return np.where((grey > grey.max() / 2) & (grey.max() >= _FAINTEST), 255, 0).astype(np.uint8)
    labels = label_values(path, _read(path, max_pixels))
    return integer_labels(path, labels if labels.ndim == 2 else grey_labels(path, labels))


def raster_shape(path: str | os.PathLike[str], *, max_pixels: int) -> tuple[int, int]:
    """Returns (H, W) from the header alone; raises `InputError` if that cannot be used."""
    with _open(existing_file(path), max_pixels) as picture:
        return picture.height, picture.width


def raster_orientation(path: str | os.PathLike[str]) -> int:
    """Returns the EXIF orientation of a picture, 1 to 8, which is 1 (upright) where it has none that is known."""
    path = existing_file(path)
    with _identified(path) as picture:
        # Of a PNG Pillow would decode all pixels to see whether it comes after them.
        if picture.format == "PNG" and "exif" not in picture.info:
            return 1
        try:
            orientation = picture.getexif().get(_ORIENTATION_TAG, 1)
        except (*_BROKEN, TypeError):
            return 1
    return int(orientation) if orientation in _ORIENTATIONS else 1


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
    bits = _tag(picture, _BITS) or 0
    if picture.mode in {"RGB", "RGBA"} and bits > 8 and not _has_deep_colour(picture):
        raise InputError(
            f"{path}: is a TIFF of {bits} bits with a plane for each colour; save it with interleaved colours"
        )
    if orientation != 1:
        raise InputError(f"{path}: is a turned or mirrored TIFF, which programs read differently; save it upright")
    return picture


def _itk_reader(picture: ImageFile.ImageFile) -> str:
    # Pillow calls a JPEG with appended previews "MPO".
    return _READERS.get(str(picture.format), _READERS["JPEG"])


def _has_deep_colour(picture: ImageFile.ImageFile) -> bool:
    """True for colour of 16 bits a channel, of which Pillow would keep 8; not where each colour is a plane."""
    return picture.mode in {"RGB", "RGBA"} and any(";16" in str(tile[3]) for tile in picture.tile)


def _is_deep_grey_with_alpha(picture: ImageFile.ImageFile) -> bool:
    """True for a PNG of 16 bits with grey and alpha, of which Pillow would keep 8, and which ITK does not read."""
    return picture.format == "PNG" and any(tile[3] == "LA;16B" for tile in picture.tile)


def _decode_deep_grey(path: Path, picture: ImageFile.ImageFile) -> np.ndarray:
    """Grey values (H, W) uint16: Pillow takes the four bytes of a pixel for RGBA, of which the first two are grey."""
    picture.tile = [tile._replace(args="RGBA") for tile in picture.tile]
    high, low = np.moveaxis(_decode(path, picture)[..., :2].astype(np.uint16), -1, 0)
    return high << 8 | low


def _tag(picture: ImageFile.ImageFile, tag: int) -> Any:
    """The value of a TIFF tag, the first if there are several; None in other formats."""
    value = picture.tag_v2.get(tag) if isinstance(picture, TiffImagePlugin.TiffImageFile) else None
    return value[0] if isinstance(value, tuple) else value


def _min_is_white(picture: ImageFile.ImageFile) -> bool:
    return _tag(picture, _PHOTOMETRIC) == _MIN_IS_WHITE


def _as_tagged(path: Path, picture: ImageFile.ImageFile, array: np.ndarray) -> np.ndarray:
    """Grey values that Pillow decoded, by those of a TIFF's tags that it does not follow."""
    if picture.format != "TIFF" or (picture.mode == "L" and _tag(picture, _SAMPLE_FORMAT) != _SIGNED):
        return array
    bits, kind = _tag(picture, _BITS), _tag(picture, _SAMPLE_FORMAT) or _UNSIGNED
    if _min_is_white(picture):
        if array.dtype != np.uint16:
            raise InputError(f"{path}: is a TIFF of {array.dtype} whose 0 is white, which cannot be read; invert it")
        return np.uint16((1 << bits) - 1) - array
    if picture.mode == "L":
        return array.view(np.int8).astype(np.int16)
    if array.dtype == np.int32 and bits == 32 and kind == _UNSIGNED and (array < 0).any():
        return array.view(np.uint32)
    return array


def _min_is_white_labels(path: Path, picture: ImageFile.ImageFile) -> np.ndarray:
    if picture.mode != "1":
        raise InputError(
            f"{path}: is a TIFF whose 0 is white (MinIsWhite), which programs read differently; as a label it must be "
            "saved with 0 as black"
        )
    white = _decode(path, picture, "L")
    return np.iinfo(np.uint8).max - white if "tifffile" in str(_tag(picture, _SOFTWARE)) else white


def _palette_labels(path: Path, picture: ImageFile.ImageFile) -> np.ndarray:
    """Indices, or the greys that they stand for; raises `InputError` where it must be greys, but none is black."""
    indices = _decode(path, picture)
    colours = np.reshape(picture.getpalette("RGB") or [], (-1, 3))
    # Palettes are filled up with entries that no pixel has.
    used = np.union1d(indices, 0)
    if used[-1] >= len(colours) or not (colours[used] == colours[used][:, :1]).all():
        return indices
    greys = colours[:, 0].astype(np.uint8)
    darkest = greys[used].min()
    if greys[0] == darkest:
        return indices
    if darkest != 0:
        raise InputError(f"{path}: is a palette picture of greys without black, so that its background is unknown")
    return greys[indices]


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
