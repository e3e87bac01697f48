"""What every script does when something is wrong: one line that says what, and an exit status."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

from activefreq.errors import ActiveFreqError

Main: TypeAlias = Callable[[Sequence[str] | None], int]

WRONG = 2
INTERRUPTED = 130


def command(name: str, *, resumes: bool = False) -> Callable[[Main], Main]:
    """Makes a script's `main` answer 2 for what is wrong with options or files, and 130 to Ctrl-C, and say so.

    Anything else that is raised is a defect, and is raised on.

    Args:
        name: Of the script, for its messages.
        resumes: Whether the same command goes on where it was interrupted.
    """

    def wrap(main: Main) -> Main:
        @functools.wraps(main)
        def answering(arguments: Sequence[str] | None = None) -> int:
            try:
                return main(arguments)
            except (ActiveFreqError, OSError) as error:
                print(f"{name}: {error}", file=sys.stderr)
                return WRONG
            except KeyboardInterrupt:
                ending = "; the same command goes on from here" if resumes else ""
                print(f"{name}: interrupted{ending}", file=sys.stderr)
                return INTERRUPTED

        return answering

    return wrap
