"""Knee cartilage of OAI-ZIB as 2D problems, with the settings of the ActiveFreq paper.

Data: Ambellan et al., "Automated segmentation of knee bone and cartilage combining statistical shape
    knowledge and convolutional neural networks", Medical Image Analysis 2019: expert masks of 507 MR volumes
    of the Osteoarthritis Initiative (384 x 384 x 160 voxels, sagittal; labels 1 femur, 2 its cartilage, 3
    tibia, 4 its cartilage).

Source of the settings: the paper's section 4.1 after iSegFormer (Liu et al., 2022): cartilage in slices 40,
80 and 120 of each volume. 507 volumes have 1521 such slices in all. The paper gives 1521, 150 and 150 slices
for training, validation and test, which cannot be three separate parts of them; split by patient, 1221, 150
and 150 (407, 50 and 50 volumes) can.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from activefreq.data.groups import resolve_grouping
from activefreq.data.pairs import LABEL_SUFFIXES, Pair, Problem, find_pairs
from activefreq.data.prepared import SETTINGS_NAME, PartFolder, PartReport, claim_folder
from activefreq.data.splits import split_groups
from activefreq.data.targets import read_targets
from activefreq.errors import InputError
from activefreq.files.atomic import atomic_write
from activefreq.files.volumes import read_volume

PARTS = ("train", "validation", "test")
SPLIT_NAME = "split.csv"

_AXES = {"k": 0, "j": 1, "i": 2}
_DISPLAY_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class OaiZibOptions:
    """How OAI-ZIB is prepared.

    Attributes:
        slices: Indices along the slice axis, from 0.
        labels: What is cartilage.
        axis: "i", "j" or "k" of the file's index order, or "shortest" (the sagittal one: 160 voxels against
            384).
        min_area: Slices with less cartilage (in pixels) are left out.
        patient: Pattern of the patient in a file name, see `resolve_grouping`; default: up to the first "."
            or "_". validation, test: Numbers of patients in these parts; all others are for training.
        seed: Of the split.
    """

    slices: tuple[int, ...] = (40, 80, 120)
    labels: tuple[int, ...] = (2, 4)
    axis: str = "shortest"
    min_area: int = 1
    patient: str = r"([^._]+)"
    validation: int = 50
    test: int = 50
    seed: int = 0


def prepare_oai_zib(
    images: Path,
    labels: Path,
    output: Path,
    options: OaiZibOptions = OaiZibOptions(),
    *,
    progress: bool = False,
) -> list[PartReport]:
    """Writes OUTPUT/{train,validation,test}/{images,labels}/9001104_040.png; goes on after an interruption.

    Images become 16 bit PNG: whole numbers from 0 to 65535 as they are, others stretched from the 0.5th to
    the 99.5th percentile of their volume. The split is written to OUTPUT/split.csv.

    Args:
        images: Folder of volumes (.mhd, .nii, ..., or folders of DICOM files).
        labels: Folder of label volumes with the same stems, or with ".segmentation_masks" or "_segmentation"
            added.
        output: Folder to write to.
        options: Slices, labels and split.
        progress: Show a progress bar.

    Returns:
        A report for each part.

    Raises:
        InputError: Nothing fits together, no slice can be used, there are too few patients for the split, an option
            cannot be meant, or `output` holds what other settings made, or of other patients: with these the
            split would be another one, and a patient in two parts.
    """
    if options.axis not in (*_AXES, "shortest"):
        raise InputError(f"unknown axis {options.axis!r}: one of i, j, k, shortest")
    if not options.slices or min(options.slices) < 0:
        raise InputError(f"slices must be one or more numbers from 0, not {list(options.slices)}")
    if len(set(options.slices)) < len(options.slices):
        raise InputError(f"slices must not be given twice, as in {list(options.slices)}")
    pairs, unpaired = find_pairs(images, labels, label_suffixes=(".segmentation_masks", *LABEL_SUFFIXES))
    patient = resolve_grouping(options.patient)
    patients = [patient(pair.name) for pair in pairs]
    parts = _split(patients, options)
    claim_folder(output, {"data": "OAI-ZIB cartilage", **dataclasses.asdict(options)})
    _claim_split(output / SPLIT_NAME, patients, parts)
    reports = []
    for part, indices in zip(PARTS, parts, strict=True):
        folder = PartFolder(output / part, ".png")
        problems = list(unpaired) if part == PARTS[0] else []
        for index in tqdm(indices, desc=part, unit="volume", disable=not progress):
            problems += _prepare_volume(folder, pairs[index], options)
        names = (_slice_name(pairs[index], k) for index in indices for k in options.slices)
        reports.append(PartReport(part, sum(map(folder.holds, names)), tuple(problems)))
    if not any(report.pairs for report in reports):
        for name in (SETTINGS_NAME, SPLIT_NAME):
            # The folder is still free for the settings that were meant.
            (output / name).unlink()
        found = [problem for report in reports for problem in report.problems]
        raise InputError(
            f"no slice of {len(pairs)} volumes could be used; the first of {len(found)} problems is {found[0]}"
        )
    return reports


def _split(patients: Sequence[str], options: OaiZibOptions) -> list[list[int]]:
    count = len(set(patients))
    training = count - options.validation - options.test
    if min(options.validation, options.test) < 0 or training < 1:
        raise InputError(
            f"{count} patients cannot be split into {options.validation} for validation, {options.test} for the test "
            "and at least 1 for training"
        )
    sizes = (training, options.validation, options.test)
    return split_groups(patients, [size / count for size in sizes], options.seed)


def _claim_split(path: Path, patients: Sequence[str], parts: Sequence[Sequence[int]]) -> None:
    part_of_patient = {patients[index]: part for part, indices in zip(PARTS, parts, strict=True) for index in indices}
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("patient", "part"))
    table.writerows(sorted(part_of_patient.items()))
    if path.exists() and path.read_text(encoding="utf-8") != text.getvalue():
        raise InputError(f"{path.parent} was prepared of other patients (see {path.name}): take another folder")
    with atomic_write(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def _slice_name(pair: Pair, k: int) -> str:
    return f"{pair.name}_{k:03d}"


def _prepare_volume(folder: PartFolder, pair: Pair, options: OaiZibOptions) -> list[Problem]:
    """Writes the slices of a volume that are not there yet; returns what is wrong with the others."""
    todo = [k for k in options.slices if not folder.holds(_slice_name(pair, k))]
    if not todo:
        return []
    try:
        targets = read_targets(pair, options.labels)
        array = read_volume(pair.image).array
        if array.ndim != 3:
            raise InputError(f"{pair.image}: is a colour volume, but a grey one is needed")
    except InputError as error:
        return [Problem(pair.name, str(error))]
    axis = int(np.argmin(array.shape)) if options.axis == "shortest" else _AXES[options.axis]
    slices, targets = np.moveaxis(_as_uint16(array), axis, 0), np.moveaxis(targets, axis, 0)
    problems = []
    for k in todo:
        name = _slice_name(pair, k)
        if k >= len(slices):
            problems.append(Problem(name, f"the volume has {len(slices)} slices only"))
        elif (area := int(targets[k].sum())) < options.min_area or not area:
            problems.append(Problem(name, f"the cartilage has {area} pixels in this slice"))
        else:
            folder.write(name, np.ascontiguousarray(slices[k]), targets[k])
    return problems


def _as_uint16(array: np.ndarray) -> np.ndarray:
    if array.min() >= 0 and array.max() <= np.iinfo(np.uint16).max and np.array_equal(array, np.rint(array)):
        return array.astype(np.uint16)
    low, high = np.percentile(array, _DISPLAY_PERCENTILES)
    scaled = (array.astype(np.float64) - low) / max(high - low, np.finfo(np.float32).tiny)
    return np.rint(np.clip(scaled, 0, 1) * np.iinfo(np.uint16).max).astype(np.uint16)
