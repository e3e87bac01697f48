from __future__ import annotations

from pathlib import Path

from PIL import Image

from activefreq.session.cache import ENTRY_BYTES
from lib.images import ImageCache


def write_pixels(folder: Path, count: int) -> list[Path]:
    """Pictures of a single pixel."""
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        Image.new("L", (1, 1), number).save(path)
    return paths


def test_of_many_tiny_images_only_the_last_are_kept(tmp_path: Path) -> None:
    paths = write_pixels(tmp_path, 12)
    cache = ImageCache(5 * ENTRY_BYTES)
    loaded = [cache.load(path) for path in paths]
    prepared = [cache.prepare(image, 0) for image in loaded]
    # From the last to the first, so that looking throws none of them out.
    kept = [cache.load(path) is image for path, image in reversed([*zip(paths, loaded, strict=True)])]
    assert kept == [True] * 4 + [False] * 8
    kept = [cache.prepare(image, 0) is slice_ for image, slice_ in reversed([*zip(loaded, prepared, strict=True)])]
    assert kept == [True] * 4 + [False] * 8
