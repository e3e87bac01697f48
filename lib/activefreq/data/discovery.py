"""From folders of images and labels to a source of samples."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, TypeAlias

import numpy as np
from tqdm import tqdm

from activefreq.data.groups import Grouping, resolve_grouping
from activefreq.data.pairs import LABEL_SUFFIXES, Pair, Problem, find_pairs
from activefreq.data.samples import SampleReference, SampleSource
from activefreq.data.targets import read_targets
from activefreq.errors import InputError

Slices: TypeAlias = Literal["all"] | Sequence[int] | None


def find_samples(
    images: str | os.PathLike[str],
    labels: str | os.PathLike[str] | None = None,
    *,
    slices: Slices = None,
    label_value: int | Collection[int] | None = None,
    min_area: int = 1,
    group: str | Grouping | None = None,
    include: Collection[str] | None = None,
    exclude: Collection[str] = (),
    typed: Collection[str] = (),
    label_suffixes: Sequence[str] = LABEL_SUFFIXES,
    progress: bool = False,
) -> SampleSource:
    """Finds the annotation problems in folders of images and labels, or in a MONAI Label studies folder.

    See `find_pairs` for the layouts. 2D pairs give a sample each, named like the image file; volumes give
    samples of their slices along the last file axis (k), named "STEM#k=012". Every label is read once here,
    for the objects' areas; of the images only the headers are.

    Args:
        images: Folder or file.
        labels: Folder or file; None for a studies folder.
        slices: Of volumes: "all" or None for every slice with an object, or the indices k of the slices.
        label_value: The label, or labels, that make up the object; None takes every label but 0.
        min_area: Objects of fewer pixels are left out (at least 1).
        group: What belongs together in a split, by the stem: see `resolve_grouping`.
        include: Stems, or names of image files, to take; the others are left out.
        exclude: Stems, or names of image files, to leave out. That none of them is there is a problem.
        typed: Those of `exclude` that somebody typed one by one: each of them that is not there is a problem.
        label_suffixes: What a label's stem may have on top of the image's, in any case.
        progress: Show a progress bar.

    Returns:
        The source; its `problems` name every file that was left out for a fault, and why. Slices below
        `min_area` count as problems only where they were asked for by their index.

    Raises:
        InputError: A path does not exist, nothing fits together or nothing is usable (the message says what
            was found), or an option cannot be meant.
    """
    pairs, problems = find_pairs(images, labels, label_suffixes=label_suffixes)
    found = {name for pair in pairs for name in (pair.name, pair.image.name)} | {problem.name for problem in problems}
    if include is not None:
        pairs = [pair for pair in pairs if _is_named(pair, include)]
        problems = [problem for problem in problems if problem.name in include]
        problems += [Problem(name, "is to be included, but was not found") for name in sorted({*include} - found)]
    excluded = frozenset(exclude)
    if excluded:
        pairs = [pair for pair in pairs if not _is_named(pair, excluded)]
        problems = [problem for problem in problems if problem.name not in excluded]
        problems += [Problem(name, "is to be left out, but was not found") for name in sorted({*typed} - found)]
        listed = excluded.difference(typed)
        if listed and not excluded & found:
            others = f" and {len(listed) - 1} others" if len(listed) > 1 else ""
            problems.append(Problem(min(listed) + others, "to be left out, but none of these was found"))
    return samples_of_pairs(
        pairs,
        problems=problems,
        slices=slices,
        label_value=label_value,
        min_area=min_area,
        group=group,
        progress=progress,
    )


def _is_named(pair: Pair, names: Collection[str]) -> bool:
    return pair.name in names or pair.image.name in names


def samples_of_pairs(
    pairs: Sequence[Pair],
    *,
    problems: Iterable[Problem] = (),
    slices: Slices = None,
    label_value: int | Collection[int] | None = None,
    min_area: int = 1,
    group: str | Grouping | None = None,
    progress: bool = False,
) -> SampleSource:
    """Finds the annotation problems in pairs of files that are known already; see `find_samples`."""
    if min_area < 1:
        raise InputError(f"min_area must be at least 1 pixel, not {min_area}")
    wanted = _wanted_slices(slices)
    grouping = resolve_grouping(group)
    references: list[SampleReference] = []
    faults: list[Problem] = []
    for pair in tqdm(pairs, desc="Reading labels", unit="file", disable=not progress):
        name = grouping(pair.name)
        try:
            targets = read_targets(pair, label_value)
        except InputError as error:
            faults.append(Problem(pair.name, str(error)))
            continue
        usable, unusable = _usable_slices(pair.name, targets, wanted, min_area)
        references += [SampleReference(sample, name, pair, k) for sample, k in usable]
        faults += unusable
    problems = list(problems)
    if not references:
        # What is wrong with the pairs says more than files without a partner.
        told = faults or problems
        first = f"; the first of {len(told)} problems is {told[0]}" if told else ""
        raise InputError(f"no usable sample among {len(pairs)} pairs of image and label{first}")
    return SampleSource(references, problems=[*problems, *faults], label_value=label_value)


def _wanted_slices(slices: Slices) -> list[int] | None:
    if slices is None or slices == "all":
        return None
    if isinstance(slices, str) or any(isinstance(k, bool) or not isinstance(k, (int, np.integer)) for k in slices):
        raise InputError(f"slices must be 'all' or whole numbers, not {slices!r}")
    if not slices or min(slices) < 0:
        raise InputError(f"slices must be one or more numbers from 0, not {list(slices)}")
    return sorted({int(k) for k in slices})


def _usable_slices(
    name: str, targets: np.ndarray, wanted: list[int] | None, min_area: int
) -> tuple[list[tuple[str, int]], list[Problem]]:
    """The samples (name, k) of a pair, and what is wrong with those that should have been there."""
    areas = targets.sum(axis=(1, 2))
    if len(areas) == 1:
        if areas[0] >= min_area:
            return [(name, 0)], []
        return [], [Problem(name, _too_small(areas[0], min_area))]
    digits = max(3, len(str(len(areas) - 1)))
    if wanted is None:
        usable = [(f"{name}#k={k:0{digits}d}", int(k)) for k in np.flatnonzero(areas >= min_area)]
        if usable:
            return usable, []
        return [], [Problem(name, f"in its largest slice {_too_small(areas.max(), min_area)}")]
    problems = []
    usable = []
    for k in wanted:
        sample = f"{name}#k={k:0{digits}d}"
        if k >= len(areas):
            problems.append(Problem(sample, f"the volume has {len(areas)} slices only"))
        elif areas[k] < min_area:
            problems.append(Problem(sample, _too_small(areas[k], min_area)))
        else:
            usable.append((sample, k))
    return usable, problems


def _too_small(area: int, min_area: int) -> str:
    return f"the object has {area} pixels, at least {min_area} are needed"
