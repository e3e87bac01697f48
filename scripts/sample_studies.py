"""Fills a folder with small studies to click on: nothing is downloaded."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from activefreq.data.sample_studies import write_sample_studies


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="made if it does not exist; files that are there stay as they are")
    folder = parser.parse_args().folder
    try:
        paths = write_sample_studies(folder)
    except OSError as error:
        print(f"cannot write the sample studies: {error}", file=sys.stderr)
        return 2
    for path in paths:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
