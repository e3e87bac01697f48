"""Some of a data set's samples: those of a part, or a number of them at random."""

from __future__ import annotations

import numpy as np

from activefreq.data.parts import Part, part_of
from activefreq.data.samples import SampleSource
from activefreq.errors import InputError


def draw_samples(
    source: SampleSource, *, part: Part | None = None, limit: int | None = None, seed: int = 0
) -> SampleSource:
    """Returns the samples of a part of the division by groups, or as many of them as are asked for.

    Args:
        source: All samples.
        part: As `part_of` says by the samples' groups; None takes all.
        limit: At most so many, drawn at random, in the order of the source; None takes all.
        seed: Of the drawing. The same source, part and seed give the same samples; another limit gives more or fewer
            of the same.

    Raises:
        InputError: No sample is of that part, the limit is below 1, or the seed below 0.
    """
    if seed < 0:
        raise InputError(f"the seed must be at least 0, not {seed}")
    indices = [index for index, group in enumerate(source.groups) if part is None or part_of(group) == part]
    if not indices:
        raise InputError(f"none of {len(source)} images falls into the {part} part")
    if limit is not None:
        if limit < 1:
            raise InputError(f"limit must be at least 1, not {limit}")
        drawn = np.random.default_rng(seed).permutation(len(indices))[:limit]
        indices = [indices[index] for index in sorted(drawn)]
    return source.subset(indices)
