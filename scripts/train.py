#!/usr/bin/env python
"""Trains an ActiveFreq network on images and masks, and writes checkpoints.

Examples:
  python scripts/train.py --images DIR --labels DIR --output runs/first
  python scripts/train.py --output runs/two --set batch_size=8 \\
      --images A/images --labels A/labels --group isic2017 --weight 2 \\
      --images B/images --labels B/labels --group sunnybrook --weight 1
  torchrun --nproc_per_node 2 scripts/train.py --preset paper --images DIR --labels DIR --output runs/paper

Options of a data set follow the --images or --studies that they belong to. The same command with --resume continues
an interrupted training exactly. OUTPUT gets best.pt and last.pt with a card each, metrics.csv, TensorBoard's events,
config.yaml, run.yaml, split.csv, and the states for --resume.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activefreq.command_line import INTERRUPTED, WRONG
from activefreq.errors import ActiveFreqError, InputError

if TYPE_CHECKING:
    import torch

    from activefreq.training.command import TrainingRequest


class _BeginDataSet(argparse.Action):
    """--images and --studies begin a data set."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        namespace.sets.append({"images": values})


class _DescribeDataSet(argparse.Action):
    """Every other option of a data set belongs to the last one that was begun."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if not namespace.sets:
            parser.error(f"{option_string} must follow the --images or --studies that it belongs to")
        if self.dest in namespace.sets[-1]:
            parser.error(f"{option_string} is given twice for {namespace.sets[-1]['images']}")
        namespace.sets[-1][self.dest] = tuple(values) if isinstance(values, list) else values


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.set_defaults(sets=[])
    data = made.add_argument_group("data sets (repeatable; the options after --images or --studies are that set's)")
    data.add_argument("--images", action=_BeginDataSet, metavar="DIR", help="images, or volumes")
    data.add_argument("--studies", action=_BeginDataSet, metavar="DIR", help="or a MONAI Label studies folder")

    def describe(name: str, **options: Any) -> None:
        data.add_argument(name, action=_DescribeDataSet, **options)

    describe("--labels", metavar="DIR", help="masks, named like the images")
    describe("--name", metavar="NAME", help="what the data set is called in reports (default: its folder)")
    describe("--weight", type=float, metavar="W", help="its relative share (default: its number of samples)")
    describe("--part", choices=("train", "validation"), help="all of it is (default: divided by groups)")
    describe("--slices", nargs="+", metavar="K", help="of volumes: 'all' with an object (default), or indices")
    describe("--label-value", nargs="+", type=int, metavar="V", help="labels that are the object (default: all but 0)")
    describe("--min-area", type=int, metavar="N", help="leave out objects of fewer pixels (default: 1)")
    describe("--group", metavar="RULE", help="what belongs to one patient: a known rule, or a regular expression")
    describe("--include", nargs="+", metavar="NAME", help="only these files: names, or lists of names (.txt, .csv)")
    describe("--exclude", nargs="+", metavar="NAME", help="all but these files")

    parts = made.add_argument_group("division by groups")
    parts.add_argument("--validation", type=float, default=0.1, metavar="SHARE", help="(default: 0.1)")
    parts.add_argument("--test", type=float, default=0.1, metavar="SHARE", help="never used here (default: 0.1)")
    parts.add_argument("--division-seed", type=int, default=32, metavar="S", help="(default: 32)")

    recipe = made.add_argument_group("recipe")
    recipe.add_argument("--preset", default="cpu", metavar="P", help="cpu, paper, or a YAML file (default: cpu)")
    recipe.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change settings of the preset, such as optimizer.learning_rate=1e-4",
    )
    recipe.add_argument(
        "--encoder-weights", metavar="W", help="ImageNet weights: auto (from a Python package), a file, or none"
    )
    recipe.add_argument("--init", metavar="C", help="begin with a checkpoint: a file, or the name of one that ships")

    running = made.add_argument_group("running")
    running.add_argument("--output", type=Path, required=True, metavar="DIR", help="made if need be")
    running.add_argument("--resume", action="store_true", help="continue what is in --output, if anything is")
    running.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    running.add_argument("--half", action="store_true", help="checkpoints with float16 weights, of half the size")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if not options.sets:
        parser().error("no data: give --images and --labels, or --studies")
    # Threads that wait for each other sleep: spinning ones make a training on a busy machine several times slower.
    # OpenMP reads this when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("activefreq").setLevel(logging.INFO)
    # Ignite logs what it raises; here it is told once.
    logging.getLogger("ignite").setLevel(logging.CRITICAL)
    try:
        return _run(options)
    except (ActiveFreqError, OSError) as error:
        _say(str(error))
        return WRONG
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED


def _say(what: str) -> None:
    number = os.environ.get("RANK", "0")
    print(f"train: {what}" if number == "0" else f"train, process {number}: {what}", file=sys.stderr)


def _run(options: argparse.Namespace) -> int:
    from activefreq.training.command import train
    from activefreq.training.distributed import leave

    device = _join(options.device)
    stopping = threading.Event()
    signals = {}

    def ask_to_stop(number: int, _: object) -> None:
        # The second one ends it at once.
        stopping.set()
        signal.signal(number, signals[number])

    def listen() -> None:
        # Not before: while the data are read there is nothing to save, and a signal ends it at once.
        for number in (signal.SIGINT, signal.SIGTERM):
            signals[number] = signal.signal(number, ask_to_stop)

    try:
        run = train(_request(options, device), stop=stopping.is_set, loaded=listen)
    finally:
        for number, handler in signals.items():
            signal.signal(number, handler)
        leave()
    if run.step < run.config.steps:
        print(f"stopped after step {run.step} of {run.config.steps}; --resume continues", file=sys.stderr)
        return INTERRUPTED
    return 0


def _join(name: str) -> torch.device:
    """This process's device; under torchrun it joins the others first."""
    from activefreq.launcher import is_launched
    from activefreq.session.segmenter import resolve_device
    from activefreq.training.distributed import join_launched

    device = resolve_device(name)
    return join_launched(device) if is_launched() else device


def _request(options: argparse.Namespace, device: torch.device) -> TrainingRequest:
    from activefreq.training.command import TrainingRequest
    from activefreq.training.config import load_preset
    from activefreq.training.datasets import DataSet, Division

    overrides = {}
    for item in options.overrides:
        key, separator, value = item.partition("=")
        if not separator:
            raise InputError(f"--set takes KEY=VALUE, not {item!r}")
        overrides[key] = value
    if options.encoder_weights is not None:
        overrides["encoder_weights"] = "null" if options.encoder_weights == "none" else options.encoder_weights
    return TrainingRequest(
        config=load_preset(options.preset, overrides),
        sets=tuple(DataSet(**{**described, **_slices(described)}) for described in options.sets),
        output=options.output,
        division=Division(validation=options.validation, test=options.test, seed=options.division_seed),
        resume=options.resume,
        init=options.init,
        device=device,
        half=options.half,
    )


def _slices(described: dict[str, Any]) -> dict[str, Any]:
    given = described.get("slices", ("all",))
    if given == ("all",):
        return {"slices": None}
    try:
        return {"slices": tuple(int(k) for k in given)}
    except ValueError:
        raise InputError(f"--slices takes 'all' or whole numbers, not {' '.join(given)}") from None


if __name__ == "__main__":
    sys.exit(main())
