#!/usr/bin/env python
"""Simulates the annotation of a data set, image after image, to judge the strategies that choose the next image.

A few images are labelled and trained on; then each strategy chooses more, a robot clicks on them until it is content,
and the training begins again from the same start. What no strategy ever labels is tested on after every training.

Example:
    python scripts/simulate_annotation.py --images DIR --labels DIR --strategies acselect random --output out

Writes rounds.csv, curves.png, simulation.md and summary.json. Run it again after an interruption, or with further
strategies, seeds or rounds: what was done is not done again.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from activefreq.acselect.strategies import STRATEGIES
from activefreq.command_line import command
from activefreq.data.discovery import find_samples
from activefreq.data.drawing import draw_samples
from activefreq.data.names import names_of, typed_names
from activefreq.data.prepared import claim_folder
from activefreq.data.resizing import fitted_size, resize_image, resize_mask
from activefreq.data.samples import Sample, SampleSource
from activefreq.errors import InputError
from activefreq.evaluation.program import program_digest
from activefreq.models.checkpoint import Checkpoint, checkpoint_hash, load_checkpoint, resolve_checkpoint
from activefreq.session.segmenter import resolve_device
from activefreq.simulation.config import SimulationConfig
from activefreq.simulation.experiment import Course, simulate
from activefreq.simulation.journal import RoundResult
from activefreq.simulation.readout import ReadoutLearner
from activefreq.simulation.report import write_report
from activefreq.simulation.trainee import Learner, NetworkLearner, with_input_of
from activefreq.training.config import load_preset
from activefreq.training.start import initial_model

PROGRAM = (
    "activefreq.data.discovery",
    "activefreq.data.parts",
    "activefreq.data.resizing",
    "activefreq.simulation.experiment",
    "activefreq.simulation.readout",
    "activefreq.simulation.trainee",
    "activefreq.training.start",
)
"""Modules that decide a round together with all that they import."""

HELP = {
    "initial": "images labelled before the first training",
    "per_round": "images that a strategy chooses in a round",
    "steps": "optimizer steps of a training",
    "batch_size": "views in a step",
    "learning_rate": "peak of the rate",
    "size": "side in pixels of the square that the network sees, a multiple of 32",
    "target_iou": "IoU with which the robot is content",
    "max_clicks": "the robot's most clicks on an image",
    "test_clicks": "clicks on every image of the test part",
}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    data = made.add_argument_group("images")
    data.add_argument("--images", required=True, metavar="DIR", help="images, volumes, or a MONAI Label studies folder")
    data.add_argument("--labels", metavar="DIR", help="masks, named like the images; not for a studies folder")
    data.add_argument("--min-area", type=int, default=1, metavar="N", help="leave out smaller objects (default: 1)")
    data.add_argument("--group", metavar="RULE", help="what belongs to one patient, see evaluate_noc.py")
    data.add_argument(
        "--exclude", nargs="+", default=[], metavar="N", help="files to leave out: names, or files of names"
    )
    data.add_argument(
        "--pool", type=int, default=200, metavar="N", help="images of the training part that may be labelled (200)"
    )
    data.add_argument("--test", type=int, default=50, metavar="N", help="images of the test part (default: 50)")
    course = made.add_argument_group("course")
    course.add_argument(
        "--strategies",
        nargs="+",
        default=["acselect", "random", "entropy", "foreground_random"],
        metavar="S",
        help=f"any of {', '.join(STRATEGIES)} (default: acselect random entropy foreground_random)",
    )
    course.add_argument(
        "--learner",
        choices=("network", "readout"),
        default="network",
        help="what is trained in every round: the network, or, in a moment, a linear read-out of its fixed features "
        "(default: network)",
    )
    course.add_argument("--rounds", type=int, default=3, metavar="R", help="how often a strategy chooses (default: 3)")
    course.add_argument("--seeds", type=int, default=3, metavar="N", help="runs with seeds 0 to N - 1 (default: 3)")
    course.add_argument(
        "--start",
        metavar="W",
        help="checkpoint that every training begins with; it must not know these images (default: the network of the "
        "preset cpu, only its encoder trained, on ImageNet)",
    )
    for field in fields(SimulationConfig):
        course.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            default=field.default,
            metavar="N" if isinstance(field.default, int) else "X",
            help=f"{HELP[field.name]} (default: {field.default:g})",
        )
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    made.add_argument("--output", type=Path, required=True, metavar="DIR", help="made if need be")
    return made


@command("simulate_annotation", resumes=True)
def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    run(options)
    return 0


def run(options: argparse.Namespace) -> None:
    """Raises `ActiveFreqError` or `OSError` for what is wrong with the options or the files."""
    config = SimulationConfig(**{field.name: getattr(options, field.name) for field in fields(SimulationConfig)})
    course = Course(tuple(options.strategies), options.rounds, tuple(range(options.seeds)))
    device = resolve_device(options.device)
    start, described = find_start(options.start, config.size)
    pool, test = find_parts(options)
    settings = {
        **{
            name: getattr(options, name)
            for name in ("images", "labels", "min_area", "group", "exclude", "pool", "test")
        },
        # Rounds are compared image by image: what was done on others does not count.
        "samples": digest_of([*pool, *test]),
        # Nor does what another version of this program did.
        "program": program_digest(PROGRAM),
        "learner": options.learner,
        "start": described,
        **asdict(config),
    }
    claim_folder(options.output, settings)
    learner: Learner = (
        NetworkLearner(start, config, device)
        if options.learner == "network"
        else ReadoutLearner(start, pool, config, device)
    )
    results = simulate(course, learner, pool, test, config, options.output, listener=tell)
    write_report(results, {**settings, **asdict(course)}, options.output)
    print((options.output / "simulation.md").read_text(encoding="utf-8"))


def digest_of(samples: Sequence[Sample]) -> str:
    """Changes with the samples' names, pixels, or order."""
    whole = hashlib.sha256()
    for sample in samples:
        whole.update(f"{sample.name}\n{sample.digest}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()[:16]


def find_start(weights: str | None, size: int) -> tuple[Checkpoint, dict[str, Any]]:
    """What trainings begin with, and what is to be said of it."""
    if weights is not None:
        path = resolve_checkpoint(weights)
        return with_input_of(load_checkpoint(path), size), {"checkpoint": path.name, "sha256": checkpoint_hash(path)}
    preset = load_preset("cpu")
    return with_input_of(Checkpoint(initial_model(preset)), size), {"encoder_weights": "ImageNet", "seed": preset.seed}


def find_parts(options: argparse.Namespace) -> tuple[list[Sample], list[Sample]]:
    """The pool and the test images, drawn from the parts of the division by groups that training uses."""
    if options.pool < 1 or options.test < 1:
        raise InputError(f"--pool and --test must be at least 1, not {options.pool} and {options.test}")
    source = find_samples(
        options.images,
        options.labels,
        min_area=options.min_area,
        group=options.group,
        exclude=names_of(options.exclude),
        typed=typed_names(options.exclude),
    )
    pool = read(draw_samples(source, part="train", limit=options.pool), options.size)
    test = read(draw_samples(source, part="test", limit=options.test), options.size)
    for problem in source.problems:
        print(f"left out: {problem}", file=sys.stderr)
    return pool, test


def read(source: SampleSource, size: int) -> list[Sample]:
    """All samples that can be read, 8-bit images no larger than the network sees them; says which cannot."""
    samples = []
    for index in range(len(source)):
        try:
            sample = source[index]
        except InputError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        image, target = sample.image, sample.target
        if image.dtype == np.uint8 and max(target.shape) > size:
            shape = fitted_size((target.shape[0], target.shape[1]), size, "inside")
            image, target = resize_image(image, shape), resize_mask(target, shape)
        if not target.any():
            print(f"left out: {sample.name}: its object is too small for {size} pixels", file=sys.stderr)
            continue
        # Copied, because a slice would keep its whole volume.
        samples.append(replace(sample, image=image.copy(), target=target.copy()))
    return samples


def tell(result: RoundResult) -> None:
    figures = ", ".join(f"{name} {value:.3f}" for name, value in result.figures.items())
    print(
        f"seed {result.seed}, {result.strategy}, {len(result.labelled)} images, {result.clicks} clicks: {figures}",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
