"""Whether `torchrun` started this process, as one of several."""

from __future__ import annotations

import os

from activefreq.errors import InputError


def is_launched() -> bool:
    """Whether this process is one of those that `torchrun` started, by their environment variables.

    Raises:
        InputError: There is said to be more than one process, but not which this is.
    """
    if {"RANK", "LOCAL_RANK", "WORLD_SIZE"} <= os.environ.keys():
        return True
    # Some clusters set it for whatever they run.
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise InputError("WORLD_SIZE is set, but not RANK and LOCAL_RANK: several processes are started by torchrun")
    return False
