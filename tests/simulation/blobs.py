"""Small made-up samples to annotate."""

from __future__ import annotations

from synthetic import rgb_blob

from activefreq.data.samples import Sample


def blobs(first: int, count: int) -> list[Sample]:
    """Samples number `first` to `first + count - 1`, a group each."""
    made = []
    for seed in range(first, first + count):
        image, mask = rgb_blob(seed)
        made.append(Sample(f"blob{seed:02d}", image, mask, f"blob{seed:02d}"))
    return made
