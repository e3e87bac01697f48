"""Fills a folder with small studies to click on: nothing is downloaded."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from activefreq.data.sample_studies import write_sample_studies


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("folder", type=Path, help="made if it does not exist; files that are there stay as they are")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        paths = write_sample_studies(options.folder)
    except OSError as error:
        print(f"cannot write the sample studies: {error}", file=sys.stderr)
        return 2
    for path in paths:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
