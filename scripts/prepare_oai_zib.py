#!/usr/bin/env python
"""Prepares OAI-ZIB (knee cartilage) for training and evaluation: 2D slices of MR volumes, split by patient.

  python scripts/prepare_oai_zib.py --images VOLUMES --labels MASKS --output oai_zib

reads volumes (.mhd, .nii, .nii.gz, or folders of DICOM files) and label volumes of the same name (also
NAME.segmentation_masks.mhd), takes slices 40, 80 and 120 and writes oai_zib/{train,validation,test}/{images,labels}.
507 volumes give 1221, 150 and 150 slices, of 407, 50 and 50 patients. An interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from activefreq.command_line import command
from activefreq.data.oai_zib import OaiZibOptions, prepare_oai_zib


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = OaiZibOptions()
    made.add_argument("--images", type=Path, required=True, help="folder of volumes")
    made.add_argument("--labels", type=Path, required=True, help="folder of label volumes")
    made.add_argument("--output", type=Path, required=True, help="folder to write to")
    made.add_argument(
        "--slices", type=int, nargs="+", default=defaults.slices, help="indices from 0 (default: 40 80 120)"
    )
    made.add_argument(
        "--cartilage", type=int, nargs="+", default=defaults.labels, help="labels of cartilage (default: 2 4)"
    )
    made.add_argument(
        "--axis",
        choices=("shortest", "i", "j", "k"),
        default=defaults.axis,
        help="slice axis in the file's index order (default: %(default)s)",
    )
    made.add_argument("--min-area", type=int, default=defaults.min_area, help="least cartilage in pixels (default: 1)")
    made.add_argument(
        "--patient", default=defaults.patient, help="pattern of the patient in a file name (default: %(default)s)"
    )
    made.add_argument(
        "--validation", type=int, default=defaults.validation, help="patients for validation (default: %(default)s)"
    )
    made.add_argument("--test", type=int, default=defaults.test, help="patients for the test (default: %(default)s)")
    made.add_argument("--seed", type=int, default=defaults.seed, help="of the split (default: %(default)s)")
    return made


@command("prepare_oai_zib")
def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    reports = prepare_oai_zib(
        options.images,
        options.labels,
        options.output,
        OaiZibOptions(
            slices=tuple(options.slices),
            labels=tuple(options.cartilage),
            axis=options.axis,
            min_area=options.min_area,
            patient=options.patient,
            validation=options.validation,
            test=options.test,
            seed=options.seed,
        ),
        progress=sys.stderr.isatty(),
    )
    for report in reports:
        print(report)
        for problem in report.problems:
            print(f"  left out {problem}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
