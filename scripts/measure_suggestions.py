#!/usr/bin/env python
"""Measures the next-region suggestions on images with known masks: are they right, and what are they worth in clicks?

Example:
    python scripts/measure_suggestions.py --images DIR --labels DIR --part test --output out

Writes robots.csv, hits.csv and summary.json, and prints the summary.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from activefreq.acselect.placement import PLACEMENTS
from activefreq.acselect.scores import RGU_READINGS, SIZE_TERMS
from activefreq.acselect.suggestions import SuggestionConfig
from activefreq.command_line import command
from activefreq.data.discovery import find_samples
from activefreq.data.drawing import draw_samples
from activefreq.errors import InputError
from activefreq.evaluation.local import LocalBackendFactory, describe_checkpoint
from activefreq.evaluation.suggestions import ROBOTS, StudyResult, SuggestionStudy, study_suggestions
from activefreq.files.atomic import atomic_write, write_json


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.add_argument("--images", required=True, metavar="DIR", help="images, volumes, or a MONAI Label studies folder")
    made.add_argument("--labels", metavar="DIR", help="masks, named like the images")
    made.add_argument("--min-area", type=int, default=20, metavar="N", help="leave out smaller objects (default: 20)")
    made.add_argument("--group", metavar="RULE", help="what belongs to one patient, see evaluate_noc.py")
    made.add_argument("--part", choices=("train", "validation", "test"), help="only this part, divided by groups")
    made.add_argument("--limit", type=int, metavar="N", help="only N of the images, drawn with --seed")
    made.add_argument("--weights", metavar="W", help="a checkpoint file or the name of one that ships")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    made.add_argument("--max-clicks", type=int, default=20, metavar="N", help="of a robot on an image (default: 20)")
    made.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is random (default: 0)")
    made.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    options = made.add_argument_group("suggestions")
    defaults = SuggestionConfig()
    options.add_argument("--least-chance", type=float, default=defaults.least_chance, metavar="P")
    options.add_argument("--placement", choices=PLACEMENTS, default=defaults.placement)
    options.add_argument("--size", choices=SIZE_TERMS, default=defaults.size)
    options.add_argument("--rgu", choices=RGU_READINGS, default=defaults.rgu)
    return made


def summarize(result: StudyResult, study: SuggestionStudy) -> dict[str, Any]:
    """Means with their 95 % intervals over groups."""
    robots = {
        robot: {f"noc@{threshold:g}": asdict(result.noc(robot, threshold)) for threshold in study.thresholds}
        | {
            f"failed@{t:g}": int(result.robots[result.robots.robot == robot][f"failed@{t:g}"].sum())
            for t in study.thresholds
        }
        for robot in ROBOTS
    }
    shares = {}
    for ranking in ("suggestions", "entropy-suggestions"):
        rows = result.robots[result.robots.robot == ranking]
        clicks = rows[["suggested", "unaided"]].to_numpy().sum()
        shares[ranking] = {
            "clicks_that_followed_a_suggestion": float(rows.suggested.sum() / clicks) if clicks else None,
            "vetoes_per_followed_suggestion": float(rows.vetoed.sum() / max(rows.suggested.sum(), 1)),
        }
        if (result.hits.ranking == ranking).any():
            shares[ranking] |= {
                "first_right": asdict(result.hit_rate(ranking, "first_right")),
                "any_right": asdict(result.hit_rate(ranking, "any_right")),
                "mean_chance_of_the_first": float(result.hits[result.hits.ranking == ranking].chance.mean()),
            }
    return {
        "images": int(result.robots.image.nunique()),
        "looks": len(result.hits) // 2,
        "robots": robots,
        "suggestions": shares,
        "suggestions_less_standard": {
            f"noc@{threshold:g}": asdict(result.difference("suggestions", "standard", threshold))
            for threshold in study.thresholds
        },
        "suggestions_less_entropy": {
            f"noc@{threshold:g}": asdict(result.difference("suggestions", "entropy-suggestions", threshold))
            for threshold in study.thresholds
        },
    }


def run(arguments: argparse.Namespace) -> None:
    if arguments.limit is not None and arguments.limit < 1:
        raise InputError(f"--limit must be at least 1, not {arguments.limit}")
    if arguments.output.exists() and not arguments.output.is_dir():
        raise InputError(f"{arguments.output} is not a folder")
    suggestions = SuggestionConfig(
        least_chance=arguments.least_chance, placement=arguments.placement, size=arguments.size, rgu=arguments.rgu
    )
    study = replace(SuggestionStudy(), max_clicks=arguments.max_clicks, suggestions=suggestions, seed=arguments.seed)
    checkpoint, described = describe_checkpoint(arguments.weights, None)
    source = find_samples(arguments.images, arguments.labels, min_area=arguments.min_area, group=arguments.group)
    source = source.verified(progress=True)
    for problem in source.problems:
        print(f"left out: {problem}", file=sys.stderr)
    source = draw_samples(source, part=arguments.part, limit=arguments.limit, seed=arguments.seed)
    # What cannot be made is told now, and not after hours.
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(arguments.seed)
    backend = LocalBackendFactory(checkpoint=checkpoint, device=arguments.device)()
    samples = tqdm(source, desc="Annotating", unit="image")
    result = study_suggestions(backend, samples, study)
    for name, table in (("robots.csv", result.robots), ("hits.csv", result.hits)):
        with atomic_write(arguments.output / name) as temporary:
            temporary.write_text(table.to_csv(index=False))
    summary = {"checkpoint": described, "options": asdict(study), **summarize(result, study)}
    write_json(arguments.output / "summary.json", summary, default=str)
    print(json.dumps(summary, indent=2, default=str))


@command("measure_suggestions")
def main(arguments: Sequence[str] | None = None) -> int:
    run(parser().parse_args(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
