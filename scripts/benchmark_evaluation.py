#!/usr/bin/env python
"""Times the evaluation: images a minute, one at a time and in batches and processes, and AcSelect's own share.

Example:
    python scripts/benchmark_evaluation.py --images DIR --labels DIR --limit 60

Prints a table; nothing here is a test. The same annotations are made in every way.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from activefreq.acselect.policies import make_policy
from activefreq.acselect.regions import mislabeled_regions
from activefreq.data.discovery import find_samples
from activefreq.data.samples import SampleSource
from activefreq.errors import ActiveFreqError
from activefreq.evaluation.local import LocalBackendFactory, describe_checkpoint
from activefreq.evaluation.metrics import intersection_over_union
from activefreq.evaluation.plan import Plan, PolicySpec
from activefreq.evaluation.rollout import RolloutConfig
from activefreq.evaluation.runner import evaluate
from activefreq.files.atomic import atomic_write
from activefreq.session.segmenter import InteractiveSegmenter


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--images", required=True, metavar="DIR", help="images, volumes, or a MONAI Label studies folder")
    made.add_argument("--labels", metavar="DIR", help="masks, named like the images")
    made.add_argument("--limit", type=int, default=60, metavar="N", help="the first N images (default: 60)")
    made.add_argument("--weights", metavar="W", help="a checkpoint file, or the name of one that ships")
    made.add_argument("--max-clicks", type=int, default=10, metavar="N", help="(default: 10)")
    made.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="(default: one a core)")
    made.add_argument("--batch-size", type=int, default=8, metavar="N", help="(default: 8)")
    made.add_argument("--output", metavar="DIR", help="also write benchmark_evaluation.json there")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        figures = run(options)
        if options.output:
            folder = Path(options.output)
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(folder / "benchmark_evaluation.json") as path:
                path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    except (ActiveFreqError, OSError) as error:
        print(f"benchmark_evaluation: {error}", file=sys.stderr)
        return 2
    return 0


def run(options: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {"acselect_ms": acselect_times()}
    print("AcSelect's own time for a click, ms (median):")
    for name, milliseconds in figures["acselect_ms"].items():
        print(f"  {name:<40} {milliseconds:8.2f}")

    path, _ = describe_checkpoint(options.weights, None)
    source = find_samples(options.images, options.labels, progress=True)
    source = source.subset(range(min(options.limit, len(source))))
    factory = LocalBackendFactory(checkpoint=path, device="cpu")
    plan = Plan(policies=(PolicySpec("standard", "standard"),), rollout=RolloutConfig(max_clicks=options.max_clicks))
    ways: dict[str, Callable[[], None]] = {
        "one at a time": lambda: one_at_a_time(source, path, options.max_clicks),
        "one at a time, with all measures": lambda: evaluated(plan, source, factory, workers=1, batch_size=1),
        f"batches of {options.batch_size}": lambda: evaluated(
            plan, source, factory, workers=1, batch_size=options.batch_size
        ),
        f"{options.workers} processes, batches of {options.batch_size}": lambda: evaluated(
            plan, source, factory, workers=options.workers, batch_size=options.batch_size
        ),
    }
    figures["images_a_minute"] = {}
    print(f"\nImages a minute, {len(source)} images, {options.max_clicks} clicks each (start-up included):")
    for name, way in ways.items():
        began = time.perf_counter()
        way()
        figures["images_a_minute"][name] = 60 * len(source) / (time.perf_counter() - began)
        print(f"  {name:<40} {figures['images_a_minute'][name]:8.1f}")
    return figures


def one_at_a_time(source: SampleSource, path: Path, max_clicks: int) -> None:
    """The plain loop that anyone would write over the session."""
    segmenter = InteractiveSegmenter.from_pretrained(path, device="cpu")
    policy = make_policy("standard")
    for sample in source:
        segmenter.set_image(sample.image)
        clicked = np.zeros(sample.target.shape, bool)
        for _ in range(max_clicks):
            result = segmenter.result
            click = policy.next_click(result.probability, result.mask, sample.target, clicked)
            if click is None:
                break
            clicked[click.y, click.x] = True
            intersection_over_union(segmenter.click(click.y, click.x, click.positive).mask, sample.target)


def evaluated(plan: Plan, source: SampleSource, factory: LocalBackendFactory, *, workers: int, batch_size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        evaluate(plan, source, factory, Path(folder), workers=workers, batch_size=batch_size, progress=False)


def acselect_times() -> dict[str, float]:
    """Median milliseconds of a policy's choice on made-up errors."""
    return {
        f"{name}, {side} x {side}, {regions} regions": _choice_time(name, side, regions)
        for side, regions in ((256, 30), (448, 60), (2048, 5000))
        for name in ("standard", "area", "acselect")
    }


def _choice_time(name: str, side: int, regions: int) -> float:
    generator = np.random.default_rng(0)
    target = np.zeros((side, side), bool)
    target[side // 4 : -side // 4, side // 4 : -side // 4] = True
    prediction = target.copy()
    while len(mislabeled_regions(prediction, target)) < regions:
        for y, x in generator.integers(0, side - 4, (regions // 5, 2)):
            prediction[y : y + 3, x : x + 3] ^= True
    probability = np.where(prediction, 0.8, 0.2) + generator.uniform(-0.1, 0.1, prediction.shape)
    clicked = np.zeros_like(target)
    policy = make_policy(name)
    times = []
    for _ in range(7):
        began = time.perf_counter()
        policy.next_click(probability, prediction, target, clicked)
        times.append(time.perf_counter() - began)
    return 1000 * float(np.median(times))


if __name__ == "__main__":
    sys.exit(main())
