"""The data of a training: several data sets, each divided by its groups, in fixed proportions."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from activefreq.data.discovery import find_samples
from activefreq.data.names import names_of, typed_names
from activefreq.data.pairs import Problem
from activefreq.data.parts import Part, part_of
from activefreq.data.samples import SampleSource
from activefreq.errors import InputError
from activefreq.training.batches import Mixture, Pair, PairSource
from activefreq.training.memory import CachedPairs
from activefreq.training.validation import spread


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Where a data set is and what of it is used; the options are those of `data.discovery.find_samples`.

    Attributes:
        images: Folder or file of images, or a MONAI Label studies folder.
        labels: Folder or file of labels; None for a studies folder.
        name: What it is called in reports; the images' folder if empty.
        weight: Relative share of the training and of the validation; None for as much as the data set has samples.
        part: "train" or "validation" if the whole data set is; None to divide it by its groups.
        slices: Indices of the slices of volumes; None for all that hold an object.
        label_value: Labels that make up the object; None for all but 0.
        min_area: Objects of fewer pixels are left out.
        group: Rule or pattern that says which files belong together.
        include, exclude: Names of files, or files of names.
    """

    images: str
    labels: str | None = None
    name: str = ""
    weight: float | None = None
    part: Part | None = None
    slices: tuple[int, ...] | None = None
    label_value: tuple[int, ...] | None = None
    min_area: int = 1
    group: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def find(self, *, progress: bool = False) -> SampleSource:
        """The samples that can be read; reads each once. Raises `InputError` if there is none."""
        source = find_samples(
            self.images,
            self.labels,
            slices=self.slices,
            label_value=self.label_value,
            min_area=self.min_area,
            group=self.group,
            include=names_of(self.include) if self.include else None,
            exclude=names_of(self.exclude),
            typed=typed_names(self.exclude),
            progress=progress,
        )
        return source.verified(progress=progress)


@dataclass(frozen=True)
class Division:
    """The parts by `data.parts.part_of`: shares of the groups that are left out of the training.

    Attributes:
        validation: What checkpoints are compared by.
        test: What the training never sees.
        seed: Another seed is another division.
    """

    validation: float = 0.1
    test: float = 0.1
    seed: int = 32

    def __post_init__(self) -> None:
        # NaN is refused, too.
        if not (self.validation >= 0 and self.test >= 0 and self.validation + self.test < 1):
            raise InputError(
                f"the shares of validation ({self.validation}) and test ({self.test}) must be at least 0 and leave "
                "something to train on"
            )

    def part_of(self, group: str) -> Part:
        return part_of(group, validation=self.validation, test=self.test, seed=self.seed)


@dataclass(frozen=True)
class Placement:
    """Where a sample has come to: a row of split.csv. `digest` tells its pixels, see `Sample.digest`."""

    data_set: str
    name: str
    group: str
    part: Part
    digest: str


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a training is given.

    Attributes:
        training: The training parts, in their proportions.
        validation: The validation parts, as many of each data set as its proportion says.
        placements: Every sample and its part.
        problems: What was left out for a fault.
    """

    training: Mixture
    validation: PairSource
    placements: tuple[Placement, ...]
    problems: tuple[Problem, ...]


def load_data(
    sets: Sequence[DataSet],
    division: Division = Division(),
    *,
    validation_images: int,
    progress: bool = False,
) -> TrainingData:
    """Finds, checks and divides the data of a training.

    Args:
        validation_images: Size of the validation part that is wanted over all data sets.

    Raises:
        InputError: A data set cannot be used, weights are given for some sets only, or a part is empty.
    """
    weights = _weights(sets)
    names = _distinct_names(sets)
    sources = [data_set.find(progress=progress) for data_set in sets]
    placements = [
        [
            Placement(name, sample, group, data_set.part or division.part_of(group), digest)
            for sample, group, digest in zip(source.names, source.groups, source.digests, strict=True)
        ]
        for name, data_set, source in zip(names, sets, sources, strict=True)
    ]
    training = _part("train", sources, placements, weights)
    validation = _part("validation", sources, placements, weights)
    if not training:
        raise InputError(f"no group falls into the training part: {_count_groups(placements)}")
    if not validation and (division.validation > 0 or any(data_set.part == "validation" for data_set in sets)):
        raise InputError(
            f"no group falls into the validation part of {division.validation:g}: {_count_groups(placements)}; give it "
            "a larger share, or 0"
        )
    shares = np.array([weight for _, weight in validation]) / sum(weight for _, weight in validation)
    chosen = [
        source.subset(spread(len(source), max(round(validation_images * share), 1)))
        for (source, _), share in zip(validation, shares, strict=True)
    ]
    return TrainingData(
        Mixture([CachedPairs(source) for source, _ in training], [weight for _, weight in training]),
        CachedPairs(_Joined(chosen)),
        tuple(placement for rows in placements for placement in rows),
        tuple(problem for source in sources for problem in source.problems),
    )


def _part(
    part: Part,
    sources: Sequence[SampleSource],
    placements: Sequence[Sequence[Placement]],
    weights: Sequence[float] | None,
) -> list[tuple[SampleSource, float]]:
    """One part of each data set that has any of it, and its weight."""
    found = []
    for number, (source, rows) in enumerate(zip(sources, placements, strict=True)):
        indices = [index for index, row in enumerate(rows) if row.part == part]
        if indices:
            found.append((source.subset(indices), len(indices) if weights is None else weights[number]))
    return found


def _count_groups(placements: Sequence[Sequence[Placement]]) -> str:
    groups = {row.group for rows in placements for row in rows}
    return f"there {'is 1 group' if len(groups) == 1 else f'are {len(groups)} groups'} such as {min(groups)}"


class _Joined:
    """Several sequences of pairs as one."""

    def __init__(self, sources: Sequence[PairSource]) -> None:
        self._sources = sources
        self._ends = list(itertools.accumulate(len(source) for source in sources))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Pair:
        if not 0 <= index < len(self):
            raise IndexError(index)
        place = bisect.bisect_right(self._ends, index)
        return self._sources[place][index - (self._ends[place - 1] if place else 0)]


def _weights(sets: Sequence[DataSet]) -> list[float] | None:
    given = [data_set.weight for data_set in sets if data_set.weight is not None]
    if not given:
        return None
    if len(given) < len(sets):
        raise InputError(f"{len(given)} of {len(sets)} data sets have a weight: give each one, or none")
    if not all(weight > 0 and np.isfinite(weight) for weight in given):
        raise InputError(f"the weights of data sets must be above 0, not {given}")
    return given


def _distinct_names(sets: Sequence[DataSet]) -> list[str]:
    names = [data_set.name or Path(data_set.images).name for data_set in sets]
    return [name if names.count(name) == 1 else f"{name}-{number}" for number, name in enumerate(names, start=1)]
