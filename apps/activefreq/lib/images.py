"""Images of the studies, read once and kept while there is room."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from activefreq.errors import InputError
from activefreq.files.grids import Volume
from activefreq.files.images import MAX_PIXELS
from activefreq.files.volumes import read_geometry, read_volume
from activefreq.session import PreparedImage, prepare_image
from activefreq.session.cache import ENTRY_BYTES, ByteCache
from lib.answers import called

MAX_VOXELS = 400_000_000
"""Of a volume that is served: more than any scanner makes, and what 16 GB of memory bear."""


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """key: changes when the file does; volume: its voxels and geometry (a 2D image has one slice)."""

    key: Hashable
    volume: Volume

    @property
    def size(self) -> tuple[int, int, int]:
        """(I, J, K): columns, rows and slices."""
        slices, rows, columns = self.volume.array.shape[:3]
        return columns, rows, slices


class ImageCache:
    """Bounded in bytes; may be used from several threads.

    Args:
        limit: Bytes that the kept volumes may take; prepared slices may take as much again.
    """

    def __init__(self, limit: int) -> None:
        self._volumes: ByteCache[LoadedImage] = ByteCache(limit, lambda image: ENTRY_BYTES + image.volume.array.nbytes)
        self._slices: ByteCache[PreparedImage] = ByteCache(limit, lambda image: image.bytes_held)

    def load(self, path: Path) -> LoadedImage:
        """Reads an image, unless it is kept and its file is as it was. Raises `InputError` if it cannot be used."""
        stat = path.stat()
        key = (str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino)
        return self._volumes.get_or_make(key, lambda: LoadedImage(key, _read(path)))

    def prepare(self, image: LoadedImage, k: int) -> PreparedImage:
        """Slice k as the click session works on it."""
        return self._slices.get_or_make((image.key, k), lambda: prepare_image(image.volume.array[k]))


def _read(path: Path) -> Volume:
    with called(path, path.name):
        if path.is_file():
            _, rows, columns = read_geometry(path, max_voxels=MAX_VOXELS).shape
            if rows * columns > MAX_PIXELS:
                raise InputError(f"{path}: slices of {columns} x {rows} pixels are more than {MAX_PIXELS} pixels")
        return read_volume(path, max_voxels=MAX_VOXELS)
