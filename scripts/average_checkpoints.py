#!/usr/bin/env python
"""Writes the mean of the weights of several checkpoints that began as one.

Example:
    python scripts/average_checkpoints.py out/a/last.pt out/b/last.pt --output out/mean.pt

The mean has the sizes, the session and the notes of the first checkpoint. Whether it is better than each of them,
scripts/evaluate_noc.py says.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from activefreq.command_line import command


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("checkpoints", nargs="+", help="checkpoint files, or names of ones that ship")
    made.add_argument(
        "--shares", type=float, nargs="+", metavar="S", help="one positive number for each checkpoint; default: equal"
    )
    made.add_argument("--half", action="store_true", help="write float16 weights, of half the size")
    made.add_argument("--output", type=Path, required=True, metavar="FILE", help="checkpoint to write")
    return made


@command("average_checkpoints")
def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    run(options)
    return 0


def run(options: argparse.Namespace) -> None:
    # Imported here, so that --help answers at once.
    from activefreq.models.checkpoint import checkpoint_hash, resolve_checkpoint, save_checkpoint
    from activefreq.training.averaging import average_checkpoints

    paths = [resolve_checkpoint(name) for name in options.checkpoints]
    shares = [1.0] * len(paths) if options.shares is None else options.shares
    mean = average_checkpoints(paths, shares)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(options.output, mean, half=options.half)
    for path, part in zip(paths, mean.info["mean_of"], strict=True):
        print(f"{part['share']:.3f} of {path}")
    print(f"{options.output} ({options.output.stat().st_size / 1e6:.1f} MB, SHA-256 {checkpoint_hash(options.output)})")


if __name__ == "__main__":
    sys.exit(main())
