"""Which image file belongs to which label file."""

from __future__ import annotations

import itertools
import json
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from activefreq.errors import InputError
from activefreq.files.checks import is_utf8, utf8_path
from activefreq.files.formats import VOLUME_SUFFIXES, is_dicom
from activefreq.files.raster import RASTER_SUFFIXES

LABEL_SUFFIXES = (
    "_segmentation",
    "_seg",
    "_mask",
    "_label",
    "_labels",
    "_gt",
    "-label",
    "-seg",
    ".seg",
)
"""What a label's stem may have on top of its image's: ISIC's "ISIC_0000000_segmentation.png", Slicer's "a.seg.nrrd"."""

STUDIES_LABELS = Path("labels") / "final"
"""Where MONAI Label keeps the labels that people submitted, inside its studies folder."""

_UNREAD_SUFFIXES = (".webp", ".gif", ".jp2", ".heic", ".heif", ".avif", ".npy", ".npz", ".mat", ".svs")
"""Of files that hold images, most likely, in formats that are not read."""

_DATASTORE_FILE = "datastore_v2.json"
_SUFFIXES = (*VOLUME_SUFFIXES, *sorted(RASTER_SUFFIXES))
_LOOKED_AT = 8


@dataclass(frozen=True)
class Pair:
    """An image and its label map.

    Attributes:
        name: Stem of the image file; unique in a data set.
        image: File, or folder with a DICOM series.
        label: File, or folder with a DICOM series.
        background: Values of the label that are no part of any object, like 0.
    """

    name: str
    image: Path
    label: Path
    background: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Problem:
    """Something that cannot be used, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def find_pairs(
    images: str | os.PathLike[str],
    labels: str | os.PathLike[str] | None = None,
    *,
    label_suffixes: Sequence[str] = LABEL_SUFFIXES,
) -> tuple[list[Pair], list[Problem]]:
    """Pairs images and labels of the same stem, in any mixture of formats and case of their extensions.

    A label may have one of `label_suffixes` on top, in any case; a label of the very stem goes before. Stems are
    compared in Unicode's composed form (NFC), since some file systems take accents apart.

    Four layouts are known:
    - two folders of files; a subfolder with DICOM files counts as one volume named like the subfolder;
    - one folder that holds both: what has a label's suffix is a label, everything else an image;
    - one image (file, or folder with a DICOM series) and one label file, whatever their names;
    - a MONAI Label studies folder: `labels` is None or STUDIES/labels/final. Images without a label are
      normal there.

    Args:
        images: Folder or file.
        labels: Folder or file; None for a studies folder.
        label_suffixes: What a label's stem may have on top of the image's, in any case.

    Returns:
        The pairs, ordered by name, and the files that have no partner or more than one. Outside of a studies folder
        so are images in formats that are not read.

    Raises:
        InputError: A path does not exist, or its name is not UTF-8, or there is no pair at all; the message says
            what was found.
    """
    images = Path(images)
    labels = images / STUDIES_LABELS if labels is None else Path(labels)
    if not images.exists():
        raise InputError(f"{images}: no such file or folder")
    if not labels.exists():
        raise InputError(f"{labels}: no such file or folder")
    for path in (images, labels):
        utf8_path(path)
    if labels.is_file():
        return [Pair(image_name(images), images, labels)], []
    if images.is_file():
        raise InputError(f"{images} is a file, but {labels} is a folder")

    is_studies = labels.parent.resolve() == (images / STUDIES_LABELS.parent).resolve()
    index = _read_datastore(images, labels.name) if is_studies else {}
    image_files = files_by_stem(images)
    label_files = files_by_stem(labels)
    ends = tuple(suffix.lower() for suffix in label_suffixes)
    if images.resolve() == labels.resolve():
        label_files = {name: files for name, files in image_files.items() if name.lower().endswith(ends)}
        image_files = {name: files for name, files in image_files.items() if name not in label_files}
    by_stem = _by_stem((name for name in label_files if name not in image_files), ends)
    pairs, problems = [], _without_foreign_names(image_files, label_files)
    if not is_studies:
        problems += _unread(images, image_files, label_ends=ends if images.resolve() == labels.resolve() else ())
    partnered = set()
    for name, candidates in sorted(image_files.items()):
        stems = [name] if name in label_files else by_stem.get(name, [])
        if not stems:
            if not is_studies:
                problems.append(Problem(name, f"the image {candidates[0].name} has no label"))
            continue
        partnered.update(stems)
        if len(stems) > 1:
            several = _names(label_files[stem][0] for stem in stems)
            problems.append(Problem(name, f"several labels may be meant: {several}"))
            continue
        (stem,) = stems
        image_extension, label_extension = index.get(name, (None, None))
        image = _choose(candidates, name, image_extension)
        label = _choose(label_files[stem], stem, label_extension)
        if image is None:
            problems.append(Problem(name, f"several images have this name: {_names(candidates)}"))
        elif label is None:
            problems.append(Problem(name, f"several labels have this name: {_names(label_files[stem])}"))
        else:
            pairs.append(Pair(name, image, label))
    for stem in sorted(label_files.keys() - partnered):
        problems.append(Problem(stem, f"the label {label_files[stem][0].name} has no image"))
    if not pairs:
        raise InputError(
            f"no image in {images} has a label in {labels}: "
            f"found {_describe(images, image_files, 'images')} and {_describe(labels, label_files, 'labels')}; "
            f"a label is named as its image, or has one of {', '.join(label_suffixes)} on top"
        )
    return pairs, problems


def _by_stem(names: Iterable[str], ends: Sequence[str]) -> dict[str, list[str]]:
    """Names of labels by what is left of them without one of their ends, which are in lower case."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        for stem in sorted({name[: -len(end)] for end in ends if end and name.lower().endswith(end)}):
            found.setdefault(stem, []).append(name)
    return found


def _without_foreign_names(*found: dict[str, list[Path]]) -> list[Problem]:
    """Takes files out whose names are not UTF-8: they cannot be read, nor results about them be written."""
    problems = []
    for name in sorted({name for files in found for name in files if not is_utf8(name)}):
        for files in found:
            files.pop(name, None)
        readable = name.encode(errors="backslashreplace").decode()
        problems.append(Problem(readable, "the name of the file is not UTF-8; rename it"))
    return problems


def _unread(images: Path, image_files: Mapping[str, Sequence[Path]], *, label_ends: tuple[str, ...]) -> list[Problem]:
    """Images in formats that are not read, but for those that there are in another format, too.

    Args:
        label_ends: What the name of a label ends with, in lower case, where there are labels among the images.
    """
    problems = []
    for path in sorted(images.iterdir()):
        name = _composed(path.stem)
        if path.name.startswith(".") or not path.name.lower().endswith(_UNREAD_SUFFIXES) or not is_utf8(name):
            continue
        if name not in image_files and not name.lower().endswith(label_ends):
            reason = "images of this format are not read; convert it to PNG, TIFF, NIfTI or NRRD"
            problems.append(Problem(name, f"{path.name}: {reason}"))
    return problems


def image_name(path: Path) -> str:
    """A file's name without its extension ("a.nii.gz" and "A.B.PNG" give "a" and "A.B"), or a folder's name."""
    if path.is_dir():
        return path.name
    suffix = next((end for end in _SUFFIXES if path.name.lower().endswith(end)), path.suffix)
    return path.name[: len(path.name) - len(suffix)]


def files_by_stem(folder: Path) -> dict[str, list[Path]]:
    """The images or labels of a folder, DICOM series in subfolders among them, by the names that pairing uses."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if _holds_dicom(path):
                found.setdefault(_composed(path.name), []).append(path)
        elif path.name.lower().endswith(_SUFFIXES):
            found.setdefault(_composed(image_name(path)), []).append(path)
    return found


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _holds_dicom(folder: Path) -> bool:
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith("."))
    # A readme or a licence may come before the slices.
    return any(is_dicom(path) for path in itertools.islice(files, _LOOKED_AT))


def _choose(candidates: Sequence[Path], stem: str, extension: str | None) -> Path | None:
    """The only candidate, or the one with the extension that the datastore's index names."""
    if len(candidates) == 1:
        return candidates[0]
    return next((path for path in candidates if _composed(path.name) == f"{stem}{extension}"), None)


def _read_datastore(studies: Path, tag: str) -> Mapping[str, tuple[str, str]]:
    """Extensions of image and label by image id, from MONAI Label's index where there is one."""
    path = studies / _DATASTORE_FILE
    if not path.is_file():
        return {}
    try:
        objects = json.loads(path.read_text(encoding="utf-8"))["objects"]
        return {
            _composed(name): (entry["image"]["ext"], entry["labels"][tag]["ext"])
            for name, entry in objects.items()
            if tag in entry.get("labels", {})
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is no index of a MONAI Label datastore ({error!r})") from error


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(path.name for path in paths)


def _describe(folder: Path, found: Mapping[str, Sequence[Path]], what: str) -> str:
    files = [path for candidates in found.values() for path in candidates]
    if files:
        return f"{len(files)} {what} such as {files[0].name}"
    others = sorted(path.name for path in folder.iterdir())
    return f"no {what}" + (f" among {len(others)} files and folders such as {others[0]}" if others else "")
