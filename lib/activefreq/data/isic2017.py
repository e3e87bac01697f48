"""The lesion segmentation task of ISIC-2017, prepared from the files that the challenge offers.

Data: Codella et al., "Skin Lesion Analysis Toward Melanoma Detection: A Challenge at the 2017 ISBI",
arXiv:1710.05006; https://challenge.isic-archive.com/data/#2017.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from activefreq.data.pairs import Problem
from activefreq.data.prepared import PartFolder, PartReport, claim_folder
from activefreq.data.resizing import fitted_size, resize_image, resize_mask
from activefreq.errors import InputError
from activefreq.files.images import read_image, read_labels

PARTS = {"train": "ISIC-2017_Training", "validation": "ISIC-2017_Test_v2", "test": "ISIC-2017_Validation"}
"""The parts as the ActiveFreq paper uses them (section 4.1: 2000, 600 and 150 images), and the challenge's names: the
paper validates on the challenge's test part and tests on its validation part."""

SAME_LESION_AS_TEST = {
    "ISIC_0012970": "ISIC_0012127",
    "ISIC_0000171": "ISIC_0015124",
}
"""Training images that show a lesion of the test part (the same photograph; the same lesion twice)."""

_IMAGE = re.compile(r"(ISIC_\d{7})\.(?:jpe?g|png)", re.IGNORECASE)
_LABEL = re.compile(r"(ISIC_\d{7})_segmentation\.png", re.IGNORECASE)


@dataclass(frozen=True)
class Isic2017Options:
    """How ISIC-2017 is prepared.

    Attributes:
        size: Side in pixels; the originals have up to 6748 x 4499.
        fit: "squash" or "inside", see `fitted_size`.
        keep_overlap: Keep the training images of `SAME_LESION_AS_TEST`.
    """

    size: int = 448
    fit: str = "squash"
    keep_overlap: bool = False


def prepare_isic2017(
    source: Path,
    output: Path,
    options: Isic2017Options = Isic2017Options(),
    *,
    workers: int = 2,
    progress: bool = False,
) -> list[PartReport]:
    """Writes OUTPUT/{train,validation,test}/{images,labels}/ISIC_0000000.{jpg,png}; goes on after an interruption.

    Args:
        source: Folder with the challenge's files: ISIC-2017_Training_Data.zip and
            ISIC-2017_Training_Part1_GroundTruth.zip, and those of the other parts, zipped or unpacked. Parts
            that are not there are left out, and so are those of `half_parts`.
        output: Folder to write to.
        options: Sizes and what to leave out.
        workers: Threads.
        progress: Show a progress bar.

    Returns:
        A report for each part that was there.

    Raises:
        InputError: No part is complete, or `output` holds what other settings made.
    """
    fitted_size((1, 1), options.size, options.fit)
    if not source.is_dir():
        raise InputError(f"{source}: no such folder")
    found = {}
    for part, prefix in PARTS.items():
        data, truth = (_locate(source, f"{prefix}_{kind}") for kind in ("Data", "Part1_GroundTruth"))
        if data and truth:
            found[part] = (data, truth)
    if not found:
        wanted = ", ".join(f"{prefix}_Data and {prefix}_Part1_GroundTruth" for prefix in PARTS.values())
        raise InputError(f"{source}: holds none of {wanted}, neither as folders nor as .zip files")
    claim_folder(output, {"data": "ISIC-2017 Part 1", **dataclasses.asdict(options)})
    return [
        _prepare_part(PartFolder(output / part, ".jpg"), *places, options, workers=workers, progress=progress)
        for part, places in found.items()
    ]


def half_parts(source: Path) -> dict[str, str]:
    """The parts of which only the images or only the labels are there, and the name of what is not."""
    missing = {}
    for part, prefix in PARTS.items():
        absent = [name for name in (f"{prefix}_Data", f"{prefix}_Part1_GroundTruth") if _locate(source, name) is None]
        if len(absent) == 1:
            missing[part] = absent[0]
    return missing


def _prepare_part(
    folder: PartFolder, data: Path, truth: Path, options: Isic2017Options, *, workers: int, progress: bool
) -> PartReport:
    images, labels = _Files(data, _IMAGE), _Files(truth, _LABEL)
    problems = [Problem(name, "the image has no label") for name in sorted(images.names - labels.names)]
    problems += [Problem(name, "the label has no image") for name in sorted(labels.names - images.names)]
    names = images.names & labels.names
    if not options.keep_overlap:
        names -= SAME_LESION_AS_TEST.keys()
    todo = sorted(name for name in names if not folder.holds(name))
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        work = pool.map(partial(_prepare_pair, folder, images, labels, options), todo)
        for problem in tqdm(work, total=len(todo), desc=folder.path.name, unit="image", disable=not progress):
            if problem is not None:
                problems.append(problem)
    return PartReport(folder.path.name, sum(folder.holds(name) for name in names), tuple(problems))


def _prepare_pair(
    folder: PartFolder, images: _Files, labels: _Files, options: Isic2017Options, name: str
) -> Problem | None:
    try:
        with images.file(name) as path:
            image = read_image(path)
        with labels.file(name) as path:
            mask = read_labels(path) > 0
        if image.shape[:2] != mask.shape:
            return Problem(name, f"the image has {image.shape[:2]} pixels, its label {mask.shape}")
        height, width = mask.shape
        shape = fitted_size((height, width), options.size, options.fit)
        mask = resize_mask(mask, shape)
        if not mask.any():
            return Problem(name, "the label is empty")
        folder.write(name, resize_image(image, shape), mask)
    except InputError as error:
        return Problem(name, str(error))
    return None


def _locate(source: Path, name: str) -> Path | None:
    """The folder of that name if it holds anything, or else the zip file."""
    folder, archive = source / name, source / f"{name}.zip"
    if folder.is_dir() and any(folder.iterdir()):
        return folder
    return archive if archive.is_file() else None


class _Files:
    """Files by the name of their image, in a folder (at any depth) or a zip file."""

    def __init__(self, place: Path, pattern: re.Pattern[str]) -> None:
        if place.is_dir():
            self._archive = None
            members = [str(path) for path in place.rglob("*") if path.is_file()]
        else:
            try:
                self._archive = zipfile.ZipFile(place)
            except zipfile.BadZipFile as error:
                raise InputError(f"{place}: cannot be read ({error})") from error
            members = self._archive.namelist()
        matches = ((pattern.fullmatch(PurePosixPath(member).name), member) for member in members)
        self._members = {match.group(1): member for match, member in matches if match}

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._members)

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """Yields the path of a file, unpacked for as long as it is needed."""
        member = self._members[name]
        if self._archive is None:
            yield Path(member)
            return
        with tempfile.TemporaryDirectory() as folder:
            try:
                yield Path(self._archive.extract(member, folder))
            except (zipfile.BadZipFile, zlib.error) as error:
                raise InputError(f"{self._archive.filename}: {member} cannot be unpacked ({error})") from error
