"""Journals: files of JSON objects, a line each, that lose nothing but what a crash cut off."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def append_line(path: Path, values: Mapping[str, Any]) -> None:
    """Adds an object, which is on the disk when this returns."""
    # The line break comes first: whatever a crash left of the line before is ended by it.
    with path.open("a", encoding="utf-8") as stream:
        stream.write("\n" + json.dumps(values))
        stream.flush()
        os.fsync(stream.fileno())


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """All objects in order; what is none, such as a line that a crash cut off, is passed over."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            values = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(values, dict):
            yield values
