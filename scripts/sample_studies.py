"""Fills a folder with small studies to click on: nothing is downloaded."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from activefreq.command_line import command
from activefreq.data.sample_studies import write_sample_studies


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("folder", type=Path, help="made if it does not exist; files that are there stay as they are")
    return made


@command("sample_studies")
def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    for path in write_sample_studies(options.folder):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
