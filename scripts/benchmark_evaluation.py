#!/usr/bin/env python
"""Times the evaluation: images a minute, one at a time and in batches and processes, and AcSelect's own share.

Example:
    python scripts/benchmark_evaluation.py --images DIR --labels DIR --limit 150

Prints a table; nothing here is a test. The same annotations are made in every way.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from activefreq.acselect.policies import make_policy
from activefreq.command_line import command
from activefreq.data.discovery import find_samples
from activefreq.data.samples import SampleSource
from activefreq.errors import InputError
from activefreq.evaluation.local import LocalBackendFactory, describe_checkpoint
from activefreq.evaluation.plan import Plan, parse_policy
from activefreq.evaluation.rollout import RolloutConfig
from activefreq.evaluation.runner import evaluate
from activefreq.evaluation.speed import policy_seconds
from activefreq.files.atomic import write_json
from activefreq.overlap import intersection_over_union
from activefreq.session.segmenter import InteractiveSegmenter

PLAIN = "one at a time, IoU alone"
STOP_IOU = 0.90
"""An image is finished there, as in evaluate_noc.py by default."""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--images", required=True, metavar="DIR", help="images, volumes, or a MONAI Label studies folder")
    made.add_argument("--labels", metavar="DIR", help="masks, named like the images")
    made.add_argument("--limit", type=int, default=150, metavar="N", help="the first N images (default: 150)")
    made.add_argument("--weights", metavar="W", help="a checkpoint file, or the name of one that ships")
    made.add_argument("--max-clicks", type=int, default=20, metavar="N", help="(default: 20)")
    made.add_argument(
        "--policy",
        nargs="+",
        default=["standard", "area", "acselect"],
        metavar="P",
        help="as in evaluate_noc.py (default: standard area acselect)",
    )
    made.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="parts of the images, each way in turn (default: 3)"
    )
    made.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="(default: one a core)")
    made.add_argument("--batch-size", type=int, default=8, metavar="N", help="(default: 8)")
    made.add_argument("--output", metavar="DIR", help="also write benchmark_evaluation.json there")
    return made


@command("benchmark_evaluation")
def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    figures = run(options)
    if options.output:
        write_json(Path(options.output, "benchmark_evaluation.json"), figures)
    return 0


def run(options: argparse.Namespace) -> dict[str, Any]:
    if options.rounds < 1:
        raise InputError(f"--rounds must be at least 1, not {options.rounds}")
    figures: dict[str, Any] = {"acselect_ms": acselect_times()}
    print("AcSelect's own time for a click, ms (median):")
    for name, milliseconds in figures["acselect_ms"].items():
        print(f"  {name:<40} {milliseconds:8.2f}")

    path, _ = describe_checkpoint(options.weights, None)
    source = find_samples(options.images, options.labels, progress=True)
    source = source.subset(range(min(options.limit, len(source))))
    if len(source) < options.rounds:
        raise InputError(f"{options.rounds} rounds need as many images, but there are {len(source)}")
    factory = LocalBackendFactory(checkpoint=path, device="cpu")
    policies = tuple(parse_policy(text, {}) for text in options.policy)
    plan = Plan(policies=policies, rollout=RolloutConfig(max_clicks=options.max_clicks, stop_iou=STOP_IOU))
    workers, batch = options.workers, options.batch_size
    ways: dict[str, Callable[[SampleSource], None]] = {
        PLAIN: lambda part: one_at_a_time(part, path, plan),
        "one process, batches of 1": lambda part: evaluated(plan, part, factory, workers=1, batch_size=1),
        f"one process, batches of {batch}": lambda part: evaluated(plan, part, factory, workers=1, batch_size=batch),
        f"{workers} processes, batches of {batch}": lambda part: evaluated(
            plan, part, factory, workers=workers, batch_size=batch
        ),
    }
    # Imports, which the plain loop has behind it as well, happen now: a clean process for the workers keeps them.
    evaluated(plan, source.subset(range(min(2 * workers, len(source)))), factory, workers=workers, batch_size=batch)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    parts = [source.subset(part) for part in np.array_split(np.arange(len(source)), options.rounds)]
    for part in tqdm(parts, unit="round"):
        for name, way in ways.items():
            began = time.perf_counter()
            way(part)
            seconds[name].append(time.perf_counter() - began)
    print(f"\n{len(source)} images, each by {', '.join(options.policy)}; loading included, imports not:")
    print(f"  {'':<36} {'images a minute':>16}   times as many as one at a time (least, most of a round)")
    figures["images_a_minute"], figures["times_as_many"] = {}, {}
    for name, own in seconds.items():
        ratios = np.array(seconds[PLAIN]) / np.array(own)
        figures["images_a_minute"][name] = 60 * len(source) / sum(own)
        figures["times_as_many"][name] = [sum(seconds[PLAIN]) / sum(own), ratios.min(), ratios.max()]
        print(
            "  {:<36} {:16.0f}   {:.2f} ({:.2f}, {:.2f})".format(
                name, figures["images_a_minute"][name], *figures["times_as_many"][name]
            )
        )
    return figures


def one_at_a_time(source: SampleSource, path: Path, plan: Plan) -> None:
    """The plain loop that anyone would write over the session, for each policy."""
    segmenter = InteractiveSegmenter.from_pretrained(path, device="cpu")
    for spec in plan.policies:
        for sample in source:
            policy = make_policy(spec.name, **spec.options)
            segmenter.set_image(sample.image)
            clicked = np.zeros(sample.target.shape, bool)
            for _ in range(plan.rollout.max_clicks):
                result = segmenter.result
                click = policy.next_click(result.probability, result.mask, sample.target, clicked)
                if click is None:
                    break
                clicked[click.y, click.x] = True
                mask = segmenter.click(click.y, click.x, click.positive).mask
                if intersection_over_union(mask, sample.target) >= STOP_IOU:
                    break


def evaluated(plan: Plan, source: SampleSource, factory: LocalBackendFactory, *, workers: int, batch_size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        evaluate(plan, source, factory, Path(folder), workers=workers, batch_size=batch_size, progress=False)


def acselect_times() -> dict[str, float]:
    """Median milliseconds of a policy's choice on made-up errors."""
    return {
        f"{name}, {side} x {side}, {regions} regions": rounds.times.median
        for side, regions in ((256, 30), (448, 60), (2048, 5000))
        for name, rounds in policy_seconds(("standard", "area", "acselect"), side, regions, rounds=7).items()
    }


if __name__ == "__main__":
    sys.exit(main())
