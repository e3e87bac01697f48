"""Headers that say in which file the voxels are: only in their own folder, and only in formats of two files.

ITK opens whatever file the header of a NRRD or MetaImage names. Of a file that somebody sent to a server that would be
any file of the server's.
"""

from __future__ import annotations

import re
from pathlib import Path

from activefreq.errors import InputError

_LONGEST = 1 << 20
_OF_TWO_FILES = frozenset({".nhdr", ".mhd"})


def check_data_file(path: Path) -> None:
    """Raises `InputError` for a header that names voxels in another folder, or in another file if it needs none."""
    with path.open("rb") as file:
        header = file.read(_LONGEST)
    named = _nrrd_data_files(header) if header.startswith(b"NRRD") else _meta_data_files(header)
    if not named:
        return
    if path.suffix.lower() not in _OF_TWO_FILES:
        raise InputError(f"{path}: its voxels are in another file, which is not allowed in this format")
    for name in named:
        if not _is_beside(name):
            raise InputError(f"{path}: its voxels are in another folder, which is not allowed")


def _is_beside(name: str) -> bool:
    return "/" not in name and "\\" not in name and "\0" not in name and name not in ("", ".", "..")


def _nrrd_data_files(header: bytes) -> list[str]:
    """What `data file:` names, and with LIST every line after the header's end; none for voxels of its own."""
    lines = header.decode("latin-1").splitlines()
    found = []
    for number, line in enumerate(lines):
        if not line.strip():
            break
        field = re.match(r"data ?file\s*:\s*(.*)", line, re.IGNORECASE)
        if field is None:
            continue
        value = field[1].strip()
        if value.upper().startswith("LIST"):
            found += [name.strip() for name in lines[number + 1 :] if name.strip()]
        else:
            # A pattern is followed by numbers.
            found.append(re.sub(r"(\s+-?\d+)+$", "", value) if "%" in value else value)
    return found


def _meta_data_files(header: bytes) -> list[str]:
    """What `ElementDataFile =` names, the header's last line; none for LOCAL voxels, and in what is no MetaImage."""
    text = header.decode("latin-1")
    field = re.search(r"^[ \t]*ElementDataFile[ \t]*=[ \t]*([^\r\n]*)", text, re.MULTILINE | re.IGNORECASE)
    if field is None or field[1].strip().upper() == "LOCAL":
        return []
    value = field[1].strip()
    if value.upper().startswith("LIST"):
        return [name.strip() for name in text[field.end() :].splitlines() if name.strip()]
    return [re.sub(r"(\s+-?\d+)+$", "", value) if "%" in value else value]
