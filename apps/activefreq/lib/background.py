"""Scoring happens in a process of its own; people who click are served first.

MONAI Label starts that process like any other, and it takes seconds of work to import everything: its priority has to
be lowered before, which is why main.py calls this module first and why it imports nothing heavy.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path


def is_scoring_process(arguments: Sequence[str] = sys.argv) -> bool:
    """Whether MONAI Label started this process to score (`python -m monailabel.interfaces.utils.app -m scoring`)."""
    return _is_task(arguments) and ("-m", "scoring") in pairwise(arguments)


def _is_task(arguments: Sequence[str]) -> bool:
    """Whether MONAI Label started this process for a task, and tells nobody but the server of it."""
    program = Path(arguments[0]).parts[-4:] if arguments else ()
    return program == ("monailabel", "interfaces", "utils", "app.py")


_PARENT = os.getppid() if _is_task(sys.argv) else None


def is_orphaned() -> bool:
    """Whether the server that started this process for a task is gone: nobody can see or stop the task any more."""
    return _PARENT is not None and os.getppid() != _PARENT


def yield_to_others() -> None:
    """Gives this process the lowest priority and one thread. To be called before PyTorch is imported."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if hasattr(os, "nice"):
        os.nice(19)


class Pace:
    """Keeps a process to a share of one processor core, by pauses in proportion to what it used.

    Args:
        share: In (0, 1]; 1 makes no pauses.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._used = time.process_time()

    def rest(self) -> None:
        """Pauses for what was worked since the last call."""
        worked = time.process_time() - self._used
        time.sleep(worked * (1.0 - self._share) / self._share)
        self._used = time.process_time()
