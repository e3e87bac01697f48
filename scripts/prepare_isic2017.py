#!/usr/bin/env python
"""Prepares ISIC-2017 (lesion segmentation) for training and evaluation, from the challenge's zip files or folders.

Get the files of "Task 1" for training, validation and test from https://challenge.isic-archive.com/data/#2017 into one
folder, then:

  python scripts/prepare_isic2017.py DOWNLOADS --output isic2017

writes isic2017/{train,validation,test}/{images,labels}, named as in the ActiveFreq paper: its validation part (600
images) is the challenge's test part, its test part (150) the challenge's validation part. An interrupted run goes on
where it was. Two training images that show a lesion of the test part are left out.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from activefreq.command_line import command
from activefreq.data.isic2017 import Isic2017Options, half_parts, prepare_isic2017
from activefreq.data.resizing import FITS


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = Isic2017Options()
    made.add_argument("source", type=Path, help="folder with the challenge's zip files or unpacked folders")
    made.add_argument("--output", type=Path, required=True, help="folder to write to")
    made.add_argument("--size", type=int, default=defaults.size, help="side in pixels (default: %(default)s)")
    made.add_argument(
        "--fit",
        choices=FITS,
        default=defaults.fit,
        help="squash to a square, or keep proportions inside of one (default: %(default)s)",
    )
    made.add_argument(
        "--keep-overlap", action="store_true", help="keep the training images that show a lesion of the test part"
    )
    made.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="threads (default: all cores)")
    return made


@command("prepare_isic2017")
def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    for part, missing in half_parts(options.source).items():
        print(f"{part}: left out, {missing} is not there", file=sys.stderr)
    reports = prepare_isic2017(
        options.source,
        options.output,
        Isic2017Options(options.size, options.fit, options.keep_overlap),
        workers=options.workers,
        progress=sys.stderr.isatty(),
    )
    for report in reports:
        print(report)
        for problem in report.problems:
            print(f"  left out {problem}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
