"""Headers that say in which file the voxels are: only in their own folder, and only in formats of two files.

ITK opens whatever file the header of a NRRD or MetaImage names. Of a file that somebody sent to a server that would be
any file of the server's. So headers are read here as ITK's libraries (NrrdIO, MetaIO) read them, and what these could
read in another way is refused.

A link beside a header is followed: it was made by somebody who may write there, which a sender of files may not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from activefreq.errors import InputError
from activefreq.files.formats import META, NRRD

_LONGEST = 1 << 20
_LONGEST_NAME = 1000
_OF_TWO_FILES = frozenset({".nhdr", ".mhd"})
_LOCAL = (b"LOCAL", b"Local", b"local")

_ODD = re.compile(rb"[\0\v\f]|\r(?!\n)")
"""What ends a line, or a text, for some readers and not for others."""

_NRRD_FIELD = re.compile(rb"\s*data ?file\s*:(.*)", re.IGNORECASE)
_META_SEPARATOR = re.compile(rb"[=:]")
_LIST = re.compile(rb"LIST(\s+\d+D?)?")
_RANGE = re.compile(rb"(\s+-?\d+)+$")
_PATTERN = re.compile(rb"[^%]*%0?\d{0,2}[du][^%]*")

_META_NUMBERS = {
    **dict.fromkeys(
        (
            b"CompressedDataSize",
            b"ElementMax",
            b"ElementMin",
            b"ElementNBits",
            b"ElementNumberOfChannels",
            b"ElementToIntensityFunctionOffset",
            b"ElementToIntensityFunctionSlope",
            b"HeaderSize",
            b"ID",
            b"NDims",
            b"ParentID",
        ),
        lambda dimensions: 1,
    ),
    **dict.fromkeys(
        (
            b"CenterOfRotation",
            b"DimSize",
            b"ElementSize",
            b"ElementSpacing",
            b"ImagePosition",
            b"Offset",
            b"Origin",
            b"Position",
            b"SequenceID",
        ),
        lambda dimensions: dimensions,
    ),
    **dict.fromkeys((b"Orientation", b"Rotation", b"TransformMatrix"), lambda dimensions: dimensions**2),
    b"Color": lambda dimensions: 4,
}
"""How many numbers MetaIO reads for a field of so many dimensions. Where the line has fewer, it goes on in the next."""


def check_data_file(path: Path, reader: str) -> None:
    """Checks the header of a file that ITK is about to read; formats whose headers name no files need no check.

    Args:
        path: The file.
        reader: The name of ITK's reader, see `formats.volume_reader`.

    Raises:
        InputError: The header names voxels in another folder, in another file where the format needs none, or in
            what is no file; or it is not written so that only one reading is possible.
    """
    if reader not in (NRRD, META):
        return
    named = list(_nrrd_data_files(path) if reader == NRRD else _meta_data_files(path))
    if not named:
        return
    if path.suffix.lower() not in _OF_TWO_FILES:
        raise InputError(f"{path}: its voxels are in another file, which is not allowed in this format")
    for name in named:
        # As ITK's libraries write and read it too: the folder that the header is in.
        name = name.removeprefix(b"./")
        if not _is_beside(name):
            raise InputError(f"{path}: its voxels are in another folder, which is not allowed")
        for file in _files_of(path.parent, name):
            # A pipe would be waited for.
            if not file.is_file():
                raise InputError(f"{path}: its voxels should be in {file.name}, but beside it is no such file")


def _is_beside(name: bytes) -> bool:
    """Whether a name leads to a file in the header's own folder: NrrdIO takes "-" for its input, "C:..." for a path."""
    return (
        not any(mark in name for mark in (b"/", b"\\", b"\0"))
        and name not in (b"", b".", b"..", b"-")
        and not name.startswith(b"~")
        and name[1:2] != b":"
    )


def _files_of(folder: Path, name: bytes) -> list[Path]:
    """The file of that name; of a pattern such as b"slice%03d.raw" all that may be meant."""
    if b"%" not in name:
        return [folder / os.fsdecode(name)]
    start, end = (os.fsdecode(part) for part in re.split(rb"%\d*[du]", name))
    return [file for file in folder.iterdir() if file.name.startswith(start) and file.name.endswith(end)]


def _nrrd_data_files(path: Path) -> Iterator[bytes]:
    """What `data file:` names, and with LIST every line after it; nothing for voxels of the file's own."""
    if not _beginning(path).startswith(b"NRRD"):
        raise InputError(f"{path}: is no NRRD file")
    lines = _lines(path)
    for line in lines:
        if not line:
            return
        field = _NRRD_FIELD.match(line)
        if field is not None:
            yield from _named(path, field[1].strip(), lines)


def _meta_data_files(path: Path) -> Iterator[bytes]:
    """What `ElementDataFile =` names, the header's last field; nothing for voxels of the file's own."""
    dimensions = 0
    lines = _lines(path)
    for line in lines:
        if not line.strip(b" \t"):
            continue
        parts = [part.strip(b" \t") for part in _META_SEPARATOR.split(line, maxsplit=1)]
        if len(parts) < 2 or not parts[0]:
            raise InputError(f"{path}: its header has a line that is not 'name = value': {_shown(line)}")
        name, value = parts[0], parts[1].lstrip(b"=: \t")
        if name == b"ElementDataFile":
            if value not in _LOCAL:
                yield from _named(path, value, lines)
            return
        if name == b"NDims":
            if not re.fullmatch(rb"\d{1,2}", value):
                raise InputError(f"{path}: its header has no number of dimensions in the line {_shown(line)}")
            dimensions = int(value)
        if name in _META_NUMBERS and len(value.split()) < _META_NUMBERS[name](dimensions):
            raise InputError(f"{path}: its header has too few numbers in the line {_shown(line)}")
    raise InputError(f"{path}: its header does not say where its voxels are (ElementDataFile)")


def _named(path: Path, value: bytes, lines: Iterator[bytes]) -> Iterator[bytes]:
    """The names that a field's value stands for; `lines` are those that follow."""
    if len(value) > _LONGEST_NAME:
        raise InputError(f"{path}: its header names a file by more than {_LONGEST_NAME} characters")
    if value.startswith(b"LIST"):
        names = [line.strip() for line in lines]
        while names and not names[-1]:
            names.pop()
        if not names or not _LIST.fullmatch(value):
            raise InputError(f"{path}: its header has a list of files that cannot be used")
        yield from names
    elif b"%" in value:
        name = _RANGE.sub(b"", value)
        if not _PATTERN.fullmatch(name):
            raise InputError(f"{path}: its header names files by a pattern that cannot be used: {_shown(value)}")
        yield name
    else:
        yield value


def _lines(path: Path) -> Iterator[bytes]:
    r"""Lines of a header, which end at \n or \r\n, up to the end of the file.

    Raises:
        InputError: A line holds what could be read as an end of it, or is not in the first MiB.
    """
    header = _beginning(path)
    whole = len(header) == path.stat().st_size
    start = 0
    while start < len(header):
        end = header.find(b"\n", start)
        if end < 0:
            if not whole:
                raise InputError(f"{path}: its header is longer than {_LONGEST} bytes")
            end = len(header)
        line = header[start : end + 1]
        if _ODD.search(line):
            raise InputError(f"{path}: its header has a line with characters that belong into none: {_shown(line)}")
        yield line.rstrip(b"\r\n")
        start = end + 1
    if not whole:
        raise InputError(f"{path}: its header is longer than {_LONGEST} bytes")


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LONGEST)


def _shown(line: bytes) -> str:
    return repr(line[:80].decode("latin-1"))
