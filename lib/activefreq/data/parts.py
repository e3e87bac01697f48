"""A fixed division of data into training, validation and test part, that needs no list of names.

Each group (a patient, or an image where there are no patients) falls into a part by a hash of its name: adding
or leaving out data moves no group to another part, and data sets that share patients are divided alike.
"""

from __future__ import annotations

import hashlib
from typing import Literal

Part = Literal["train", "validation", "test"]


def part_of(group: str, *, validation: float = 0.1, test: float = 0.1, seed: int = 32) -> Part:
    """The part of a group.

    Args:
        validation, test: Expected share of the groups in these parts; the rest is for training.
        seed: Another seed is another division. The default one gives each part patients of both Sunnybrook sets.
    """
    position = position_of(group, seed=seed)
    if position < test:
        return "test"
    return "validation" if position < test + validation else "train"


def position_of(group: str, *, seed: int) -> float:
    """A number in [0, 1) that depends on the group's name and the seed alone, spread evenly over the names."""
    digest = hashlib.sha256(f"{seed}:{group}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
