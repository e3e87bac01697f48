#!/usr/bin/env python
"""Writes a checkpoint as two ONNX files, coarse.onnx and refine.onnx, and compares them with PyTorch.

Example:
    python scripts/export_onnx.py default --output out/onnx

The tensors are described in docs/models.md. The comparison runs both files in onnxruntime on random input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from activefreq.command_line import command


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("checkpoint", help="checkpoint file, or the name of one that ships")
    made.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the two files go")
    made.add_argument("--no-check", action="store_true", help="leave out the comparison with PyTorch")
    return made


@command("export_onnx")
def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    run(options)
    return 0


def run(options: argparse.Namespace) -> None:
    # Imported here, so that --help answers at once.
    from activefreq.models.checkpoint import load_checkpoint, resolve_checkpoint
    from activefreq.models.export import OPSET, describe_tensors, export_onnx, largest_difference

    checkpoint = load_checkpoint(resolve_checkpoint(options.checkpoint))
    options.output.mkdir(parents=True, exist_ok=True)
    for path in export_onnx(checkpoint, options.output):
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB, opset {OPSET})")
        for line in describe_tensors(path):
            print(f"  {line}")
    if not options.no_check:
        difference = largest_difference(checkpoint, options.output)
        print(f"largest difference from PyTorch, as a share of the largest value: {difference:.1e}")


if __name__ == "__main__":
    sys.exit(main())
