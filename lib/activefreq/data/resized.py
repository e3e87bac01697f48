"""A data set whose images are all brought to one size before anyone clicks on them, as papers do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from activefreq.data.pairs import Problem
from activefreq.data.resizing import fitted_size, resize_image, resize_mask
from activefreq.data.samples import Sample, SampleSource
from activefreq.errors import InputError


class ResizedSource:
    """The samples of a source at `side` by `side` pixels; proportions are not kept.

    The truth is resized too: clicks are made, and masks judged, on the new pixels. An object that vanishes when its
    image shrinks is an `InputError` that names it.

    Args:
        source: The samples as they are in their files.
        side: In pixels.

    Raises:
        InputError: The side is not positive.
    """

    def __init__(self, source: SampleSource, side: int) -> None:
        self._source = source
        self._shape = fitted_size((side, side), side, "squash")

    @property
    def names(self) -> Sequence[str]:
        return self._source.names

    @property
    def problems(self) -> Sequence[Problem]:
        return self._source.problems

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Sample:
        sample = self._source[index]
        target = resize_mask(sample.target, self._shape)
        if not target.any():
            raise InputError(
                f"{sample.name}: nothing of the object is left at {self._shape[0]} x {self._shape[1]} pixels"
            )
        return replace(sample, image=resize_image(sample.image, self._shape), target=target)
