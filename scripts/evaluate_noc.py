#!/usr/bin/env python
"""Lets scripted annotators click through images with known masks: NoC, mIoU@k, curves and panels.

Example:
    python scripts/evaluate_noc.py --images DIR --labels DIR --policy standard area acselect --output out

Writes summary.json, clicks.csv, curve.png and noc.md. Run it again after an interruption, or with further policies:
what was done is not done again. Under torchrun the images are shared out among the processes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from activefreq.acselect.policies import POLICIES, PROBABILITY_POLICIES
from activefreq.command_line import command
from activefreq.data.discovery import find_samples
from activefreq.data.drawing import draw_samples
from activefreq.data.names import names_of, typed_names
from activefreq.data.resized import ResizedSource
from activefreq.data.samples import SampleSource
from activefreq.errors import InputError
from activefreq.evaluation.backends import Backend
from activefreq.evaluation.local import LocalBackendFactory, describe_checkpoint
from activefreq.evaluation.panels import write_panels
from activefreq.evaluation.plan import Plan, parse_human, parse_option, parse_policy, parse_score
from activefreq.evaluation.report import write_report
from activefreq.evaluation.robot import RemoteBackend
from activefreq.evaluation.rollout import RolloutConfig
from activefreq.evaluation.runner import Shard, evaluate, prepare_workers
from activefreq.evaluation.users import USERS
from activefreq.models.config import MIRRORS


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    data = made.add_argument_group("images")
    data.add_argument("--images", required=True, metavar="DIR", help="images, volumes, or a MONAI Label studies folder")
    data.add_argument("--labels", metavar="DIR", help="masks, named like the images; not for a studies folder")
    data.add_argument(
        "--slices", nargs="+", metavar="K", help="of volumes: 'all' (default), or indices such as 40 80 120"
    )
    data.add_argument(
        "--label-value", nargs="+", type=int, metavar="V", help="labels that are the object (default: all but 0)"
    )
    data.add_argument(
        "--min-area", type=int, default=1, metavar="N", help="leave out objects of fewer pixels (default: 1)"
    )
    data.add_argument(
        "--group",
        metavar="RULE",
        help="what belongs to one patient: a known rule or a regular expression on the file's name",
    )
    data.add_argument(
        "--part",
        choices=("train", "validation", "test"),
        help="only this part of the division by groups that training uses",
    )
    data.add_argument(
        "--resize",
        type=int,
        metavar="PX",
        help="bring images and masks to squares of PX pixels first, as papers do: clicks and IoU are those of the "
        "resized image (default: as the files are)",
    )
    data.add_argument(
        "--exclude", nargs="+", default=[], metavar="N", help="files to leave out: names, or files of names"
    )
    data.add_argument("--limit", type=int, metavar="N", help="only N of the images, drawn with --seed")
    model = made.add_argument_group("model")
    model.add_argument(
        "--weights", metavar="W", help="a checkpoint file, or the name of one that ships (default: default)"
    )
    model.add_argument(
        "--backbone",
        metavar="B",
        help="without --weights: the shipped checkpoint of that name; with it: what it must hold",
    )
    model.add_argument(
        "--size",
        type=int,
        metavar="PX",
        help="side of the square that the network sees (default: the checkpoint's; 192 for the one that ships)",
    )
    model.add_argument(
        "--mirrors",
        type=int,
        choices=MIRRORS,
        metavar="N",
        help="average the answers to N mirror images, 1, 2 or 4: a click takes N times as long (default: the "
        "checkpoint's, mostly 1)",
    )
    model.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    model.add_argument(
        "--server",
        metavar="URL",
        help="click through a running MONAI Label server that serves the images, in its place",
    )
    rules = made.add_argument_group("annotators")
    rules.add_argument(
        "--policy",
        nargs="+",
        default=["acselect"],
        metavar="P",
        help=f"any of {', '.join(POLICIES)}; NAME:KEY=VALUE,... has options of its own, with label=TEXT its "
        "name in the tables (default: acselect)",
    )
    rules.add_argument(
        "--acselect",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="options of every acselect: alpha, beta, gamma, rgu, size, connectivity, placement, reach, caution",
    )
    rules.add_argument(
        "--user", nargs="+", default=["ideal"], choices=USERS, help="who follows the policies (default: ideal)"
    )
    rules.add_argument(
        "--human",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="options of the human: jitter, smaller, slip, border",
    )
    rules.add_argument(
        "--start",
        choices=("empty", "auto"),
        default="empty",
        help="auto: begin with the model's mask without clicks, and score it (default: empty)",
    )
    rules.add_argument("--max-clicks", type=int, default=20, metavar="N", help="(default: 20)")
    rules.add_argument(
        "--iou",
        nargs="+",
        type=float,
        default=[0.80, 0.85, 0.90],
        metavar="T",
        help="thresholds (default: 0.80 0.85 0.90)",
    )
    rules.add_argument(
        "--all-clicks",
        action="store_true",
        help="go on after the highest threshold until the most clicks; else the IoU is carried on",
    )
    rules.add_argument(
        "--nsd-tolerance", type=float, default=2.0, metavar="PX", help="of the normalized surface Dice (default: 2)"
    )
    rules.add_argument("--seed", type=int, default=0, metavar="S", help="(default: 0)")
    running = made.add_argument_group("running")
    running.add_argument("--output", required=True, metavar="DIR", help="made if need be")
    running.add_argument("--panels", type=int, default=0, metavar="N", help="draw pictures of N images")
    running.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes (default: one for each CPU core, one on a GPU or under torchrun)",
    )
    running.add_argument(
        "--batch-size",
        type=int,
        default=8,
        metavar="N",
        help="annotations at the same time in each process (default: 8)",
    )
    return made


@command("evaluate_noc", resumes=True)
def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    run(options)
    return 0


def run(options: argparse.Namespace) -> None:
    """Raises `ActiveFreqError` or `OSError` for what is wrong with the options or the files."""
    shard = Shard.from_environment()
    workers = worker_count(options, shard)
    if workers > 1:
        prepare_workers()
    make_backend, description = find_backend(options, shard)
    plan = make_plan(options, description)
    source: SampleSource | ResizedSource = find(options, progress=shard.rank == 0)
    if options.resize is not None:
        source = ResizedSource(source, options.resize)
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    outcome = evaluate(
        plan,
        source,
        make_backend,
        output,
        workers=workers,
        batch_size=options.batch_size,
        shard=shard,
    )
    if outcome is None:
        return
    write_report(plan, outcome, output)
    print((output / "noc.md").read_text(encoding="utf-8"))
    if options.panels > 0:
        names = [result.name for result in next(iter(outcome.results.values()))]
        chosen = np.unique(np.linspace(0, len(names) - 1, min(options.panels, len(names))).round().astype(int))
        write_panels(plan, source, make_backend(), [names[index] for index in chosen], output / "panels")


def find_backend(options: argparse.Namespace, shard: Shard) -> tuple[Callable[[], Backend], dict[str, Any]]:
    """What answers the clicks, and what is to be said of it."""
    if options.server is not None:
        if options.resize is not None:
            raise InputError("a server has images of its own: leave --resize out with --server")
        given = [name for name in ("weights", "backbone", "size", "mirrors") if getattr(options, name) is not None]
        if given:
            raise InputError(f"--{given[0]} is the server's affair: leave it out with --server")
        blind = [text for text in options.policy if text.partition(":")[0] in PROBABILITY_POLICIES]
        if blind:
            raise InputError(f"{blind[0]} needs probabilities, and a server answers masks")
        remote = RemoteBackend(url=options.server)
        return remote, remote.describe()
    checkpoint, description = describe_checkpoint(options.weights, options.backbone, mirrors=options.mirrors)
    factory = LocalBackendFactory(
        checkpoint=checkpoint, input_size=options.size, device=shard.device(options.device), mirrors=options.mirrors
    )
    return factory, {**description, "input_size": options.size or description["input_size"]}


def find(options: argparse.Namespace, *, progress: bool) -> SampleSource:
    """The images that the options mean."""
    slices: Any = options.slices
    if slices == ["all"]:
        slices = "all"
    elif slices is not None:
        try:
            slices = [int(text) for text in slices]
        except ValueError:
            raise InputError(f"slices are 'all' or indices, not {' '.join(slices)!r}") from None
    source = find_samples(
        options.images,
        options.labels,
        slices=slices,
        label_value=options.label_value,
        min_area=options.min_area,
        group=options.group,
        exclude=names_of(options.exclude),
        typed=typed_names(options.exclude),
        progress=progress,
    )
    return draw_samples(source, part=options.part, limit=options.limit, seed=options.seed)


def make_plan(options: argparse.Namespace, description: dict[str, Any]) -> Plan:
    """What is to be evaluated, as the options say."""
    acselect = dict(parse_option(text) for text in options.acselect)
    identity = {name: getattr(options, name) for name in ("images", "labels", "label_value", "group", "resize")}
    notes = {
        name: getattr(options, name) for name in ("slices", "min_area", "part", "exclude", "limit", "start", "device")
    }
    return Plan(
        policies=tuple(parse_policy(text, acselect) for text in options.policy),
        users=tuple(dict.fromkeys(options.user)),
        thresholds=tuple(sorted(set(options.iou))),
        rollout=RolloutConfig(
            max_clicks=options.max_clicks,
            stop_iou=None if options.all_clicks else max(options.iou),
            automatic_start=options.start == "auto",
            nsd_tolerance=options.nsd_tolerance,
            score=parse_score(acselect),
        ),
        human=parse_human(options.human),
        seed=options.seed,
        backend={**description, **identity},
        notes=notes,
    )


def worker_count(options: argparse.Namespace, shard: Shard) -> int:
    """How many processes: as asked for, else one for each core where there is no GPU to share."""
    if options.workers is not None:
        return options.workers
    on_gpu = options.device.startswith("cuda") or (options.device == "auto" and torch.cuda.is_available())
    return 1 if on_gpu or options.server is not None or shard.world > 1 else min(8, os.cpu_count() or 1)


if __name__ == "__main__":
    sys.exit(main())
