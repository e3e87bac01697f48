"""2D annotation problems: one image, one object, and the sequence of them that a data set is."""

from __future__ import annotations

import hashlib
import operator
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from tqdm import tqdm

from activefreq.data.pairs import Pair, Problem
from activefreq.data.targets import read_slices, read_targets
from activefreq.errors import InputError

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Sample:
    """One 2D annotation problem.

    Attributes:
        name: Unique in its data set, e.g. "ISIC_0000000" or "hippocampus_001#k=012".
        image: (H, W) or (H, W, 3); uint8, uint16 or float32.
        target: (H, W) bool, True inside the object.
        group: Patient or the like; a split never divides a group.
    """

    name: str
    image: np.ndarray
    target: np.ndarray
    group: str

    @property
    def digest(self) -> str:
        """Of the image's pixels and the target's: 16 hexadecimal digits that change with either."""
        digest = hashlib.blake2b(digest_size=8)
        for array in (self.image, self.target):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class SampleReference:
    """Where a sample lies: a slice of a pair of files (slice 0 of a 2D pair).

    Attributes:
        digest: `Sample.digest` as of its last check (`SampleSource.verified`); empty before.
    """

    name: str
    group: str
    pair: Pair
    k: int
    digest: str = ""


class SampleSource:
    """A sequence of samples whose pixels are read when they are asked for.

    The last few files read are kept, because the slices of a volume are asked for one after the other. A
    source can be pickled (a data loader's workers need that); what it kept stays behind. Several threads may
    read from one.

    Attributes:
        references: Where the samples lie.
        problems: What was found but cannot be used, and why.
    """

    def __init__(
        self,
        references: Iterable[SampleReference],
        *,
        problems: Iterable[Problem] = (),
        label_value: int | Collection[int] | None = None,
    ) -> None:
        self.references = tuple(references)
        self.problems = tuple(problems)
        self._label_value = label_value
        self._images: _LastRead[Pair, np.ndarray] = _LastRead()
        self._targets: _LastRead[Pair, np.ndarray] = _LastRead()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(reference.name for reference in self.references)

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(reference.group for reference in self.references)

    @property
    def digests(self) -> tuple[str, ...]:
        return tuple(reference.digest for reference in self.references)

    def __len__(self) -> int:
        return len(self.references)

    def __getitem__(self, index: int) -> Sample:
        """Reads a sample; raises `InputError` naming it if its files cannot be used, else `IndexError`."""
        reference = self.references[operator.index(index)]
        try:
            return self._read(reference)
        except InputError as error:
            raise InputError(f"{reference.name}: {error}") from error

    def _read(self, reference: SampleReference) -> Sample:
        image = self._images.get(reference.pair, read_slices)
        target = self._targets.get(reference.pair, lambda pair: read_targets(pair, self._label_value))
        return Sample(reference.name, image[reference.k], target[reference.k], reference.group)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (self.references, self.problems, self._label_value)

    def subset(self, indices: Iterable[int]) -> SampleSource:
        """Returns a source of the samples at these indices, in this order, with the same problems."""
        chosen = [self.references[operator.index(index)] for index in indices]
        return SampleSource(chosen, problems=self.problems, label_value=self._label_value)

    def verified(self, *, progress: bool = False) -> SampleSource:
        """Reads every sample once; returns a source with digests, without the unreadable ones, which become problems.

        Discovery reads all labels, but of the images only the headers; this finds the truncated ones before a
        long run does. A pair of files that cannot be read is one problem, however many slices it has.

        Raises:
            InputError: No sample is left.
        """
        good: list[SampleReference] = []
        broken: dict[Pair, Problem] = {}
        for reference in tqdm(self.references, desc="Checking images", unit="image", disable=not progress):
            if reference.pair in broken:
                continue
            try:
                sample = self._read(reference)
            except InputError as error:
                broken[reference.pair] = Problem(reference.pair.name, str(error))
            else:
                good.append(replace(reference, digest=sample.digest))
        problems = [*self.problems, *broken.values()]
        if not good:
            raise InputError(f"no image can be read; the first of {len(problems)} problems is {problems[0]}")
        return SampleSource(good, problems=problems, label_value=self._label_value)


def _restore(
    references: Sequence[SampleReference],
    problems: Sequence[Problem],
    label_value: int | Collection[int] | None,
) -> SampleSource:
    return SampleSource(references, problems=problems, label_value=label_value)


class _LastRead(Generic[Key, Value]):
    """Remembers the values of the last few keys, for several threads."""

    def __init__(self, size: int = 2) -> None:
        self._size = size
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key, read: Callable[[Key], Value]) -> Value:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        # Outside of the lock: two threads may read the same file, but none waits for another one's file.
        value = read(key)
        with self._lock:
            self._values[key] = value
            while len(self._values) > self._size:
                self._values.popitem(last=False)
        return value
