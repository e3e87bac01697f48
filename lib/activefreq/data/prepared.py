"""Folders of prepared data: FOLDER/PART/images and FOLDER/PART/labels, which `find_samples` reads.

Preparation takes long, so it can be interrupted and goes on where it was: files appear whole or not at all,
and a folder is never filled with two different settings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from activefreq.data.pairs import Problem
from activefreq.errors import InputError
from activefreq.files.atomic import atomic_write

SETTINGS_NAME = "settings.json"


@dataclass(frozen=True)
class PartReport:
    """What became of a part of a data set.

    Attributes:
        part: Its name, which is its folder's.
        pairs: Number of pairs in the folder.
        problems: What was left out for a fault, and why.
    """

    part: str
    pairs: int
    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        return f"{self.part}: {self.pairs} images, {len(self.problems)} problems"


@dataclass(frozen=True)
class PartFolder:
    """Where the pairs of a part go.

    Attributes:
        path: FOLDER/PART.
        image_suffix: Extension of the images; labels are PNG of 0 and 255.
    """

    path: Path
    image_suffix: str

    def holds(self, name: str) -> bool:
        """True if the pair of this name is there already."""
        return self._image(name).is_file() and self._label(name).is_file()

    def write(self, name: str, image: np.ndarray, mask: np.ndarray) -> None:
        """Writes a pair: an image as `check` takes it, and mask (H, W) bool. Raises `InputError` as that does."""
        self.check(name, image)
        for path in (self._image(name), self._label(name)):
            path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self._image(name)) as temporary:
            # For JPEG; PNG has no such options.
            Image.fromarray(image).save(temporary, quality=95, subsampling=0)
        with atomic_write(self._label(name)) as temporary:
            Image.fromarray(mask.astype(np.uint8) * 255).save(temporary)

    def check(self, name: str, image: np.ndarray) -> None:
        """Raises `InputError` for an image that is not (H, W) or (H, W, 3) uint8, nor, for PNG, (H, W) uint16."""
        grey = image.ndim == 2
        if image.dtype == np.uint8 and (grey or (image.ndim == 3 and image.shape[2] == 3)):
            return
        if image.dtype == np.uint16 and grey and self.image_suffix == ".png":
            return
        kind = f"{'grey' if grey else 'colour'} of {image.dtype}"
        raise InputError(f"{name}: {kind} cannot be written as {self.image_suffix.removeprefix('.').upper()}")

    def check_apart(self, *sources: Path) -> None:
        """Raises `InputError` if pairs would be written where one of these folders, or of these files, is."""
        written = {(self.path / name).resolve() for name in ("images", "labels")}
        for source in sources:
            folder = source.parent if source.is_file() else source
            if folder.resolve() in written:
                raise InputError(f"{self.path} would be written over {source}: take another folder")

    def _image(self, name: str) -> Path:
        return self.path / "images" / f"{name}{self.image_suffix}"

    def _label(self, name: str) -> Path:
        return self.path / "labels" / f"{name}.png"


def claim_folder(output: Path, settings: Mapping[str, Any]) -> None:
    """Makes a folder for what is made with these settings, and writes them into it.

    Raises:
        InputError: It holds what was made with other settings, which the message names, or is a file.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is not a folder")
    output.mkdir(parents=True, exist_ok=True)
    path = output / SETTINGS_NAME
    text = json.dumps(settings, indent=2) + "\n"
    if path.exists() and (found := path.read_text(encoding="utf-8")) != text:
        differences = _differences(found, json.loads(text))
        raise InputError(f"{output} holds what other settings made{differences} (see {path}): take another folder")
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _differences(found: str, wanted: Mapping[str, Any]) -> str:
    """What a file of settings has otherwise, for a message: " (steps 1, not 2)"; nothing if that is unknown."""
    try:
        before = json.loads(found)
    except ValueError:
        return ""
    if not isinstance(before, dict):
        return ""
    others = [
        f"{name} {before.get(name)!r}, not {wanted.get(name)!r}"
        for name in sorted({*before, *wanted})
        if before.get(name) != wanted.get(name)
    ]
    return f" ({'; '.join(others)})" if others else ""
