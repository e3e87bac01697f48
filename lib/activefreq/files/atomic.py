"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a path to write to; what was written becomes `path` when the block ends without an error.

    The temporary file has the name of the target and lies in a hidden folder beside it: writers choose their
    format by the extension, a rename needs one file system, and whoever watches or lists the target's folder
    (MONAI Label's datastore does) never sees a half-written file. A reader finds the old file or the new one,
    also after a crash.

    Formats of two files (.mhd with .raw) are served too: every file found beside the temporary one is renamed
    first, the target itself last.

    Args:
        path: The target; its folder must exist, the file itself need not.

    Raises:
        FileNotFoundError: The target's folder does not exist, or the block wrote no file.
    """
    target = Path(path)
    folder = Path(tempfile.mkdtemp(prefix=".writing-", dir=target.parent))
    try:
        temporary = folder / target.name
        yield temporary
        companions = sorted(part for part in folder.iterdir() if part != temporary)
        for part in (*companions, temporary):
            _flush(part)
            part.replace(target.parent / part.name)
        _flush(target.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_json(path: str | os.PathLike[str], values: Any, *, default: Callable[[Any], Any] | None = None) -> None:
    """Writes values as indented JSON, atomically.

    Args:
        path: The target; its folder is made if need be.
        default: Makes what JSON knows of what it does not, as in `json.dumps`.

    Raises:
        ValueError: There is a number that JSON has not, NaN or infinity; what was there before stays.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, default=default, allow_nan=False) + "\n", encoding="utf-8")


def _flush(path: Path) -> None:
    """Brings a file or a folder to the disk, so that a rename never outlives the data that it points to."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
