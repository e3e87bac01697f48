#!/usr/bin/env python
"""Times what a person waits for: the next sample of many images, and a click while images are being scored.

Example:
    python scripts/benchmark_active_learning.py --images 20000

Starts servers of its own on this machine, with made-up images, and prints a table; nothing here is a test. Next samples
are timed while the server scores in the background, also by what the server computes for them: a busy machine makes
people wait, but not the server compute, longer. Clicks are timed in turn with and without scoring, so that other
work on the machine touches both alike.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import requests
from PIL import Image

from activefreq.command_line import command
from activefreq.data.sample_studies import dermoscopy_like
from activefreq.errors import ActiveFreqError, InputError
from activefreq.evaluation.server_process import server_process
from activefreq.files.atomic import write_json

STRATEGIES = ("acselect", "acselect_score", "random", "entropy", "foreground_random")
SCORING_SECONDS = 3600


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.add_argument("--images", type=int, default=20_000, metavar="N", help="waiting images (default: 20000)")
    made.add_argument("--samples", type=int, default=20, metavar="N", help="next samples of a strategy (default: 20)")
    made.add_argument("--rounds", type=int, default=3, metavar="N", help="turns with and without scoring (default: 3)")
    made.add_argument(
        "--scored", type=int, default=24, metavar="N", help="images that are scored in each turn (default: 24)"
    )
    made.add_argument(
        "--clicks", type=int, default=100, metavar="N", help="the most clicks of a turn, each way (default: 100)"
    )
    made.add_argument("--output", type=Path, metavar="DIR", help="also write benchmark_active_learning.json there")
    return made


@command("benchmark_active_learning")
def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    for name in ("images", "samples", "rounds", "scored", "clicks"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} must be at least 1, not {getattr(options, name)}")
    figures = {
        "next_sample_ms": next_samples(options.images, options.samples),
        "clicks": clicks_during_scoring(options.scored, options.rounds, options.clicks),
    }
    if options.output:
        write_json(options.output / "benchmark_active_learning.json", figures)
    return 0


def next_samples(images: int, samples: int) -> dict[str, dict[str, float]]:
    """Milliseconds of a next sample over REST, by strategy, and how many of them the server computed."""
    print(f"Next sample of {images} images while the server scores, ms (on a processor: what the server computed):")
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        studies = Path(folder, "studies")
        studies.mkdir()
        first = studies / "image_00000.png"
        Image.fromarray(dermoscopy_like((96, 128)).image).save(first)
        for number in range(1, images):
            os.link(first, studies / f"image_{number:05d}.png")
        with server_process(studies, Path(folder), conf={}, scoring=True) as server, requests.Session() as session:
            process = psutil.Process(server.pid)
            for strategy in STRATEGIES:
                times, computed = [], []
                for number in range(samples + 1):
                    used, began = processor_seconds(process), time.perf_counter()
                    answer = session.post(f"{server.url}/activelearning/{strategy}", json={"client_id": str(number)})
                    times.append(1000 * (time.perf_counter() - began))
                    computed.append(1000 * (processor_seconds(process) - used))
                    answer.raise_for_status()
                # The first one finds nothing in memory yet.
                figures[strategy] = {
                    "first": times[0],
                    "median": float(np.median(times[1:])),
                    "most": float(np.max(times[1:])),
                    "on a processor": float(np.median(computed[1:])),
                }
                shown = ", ".join(f"{name} {value:.0f}" for name, value in figures[strategy].items())
                print(f"  {strategy:<20} {shown}", flush=True)
    return figures


def clicks_during_scoring(images: int, rounds: int, limit: int) -> dict[str, Any]:
    """Milliseconds of a click over REST with and without scoring, in turn, at most `limit` of them at a time."""
    print(f"A click while {images} images are scored, and alone, ms (median of a turn):")
    turns = []
    with tempfile.TemporaryDirectory() as folder:
        studies = Path(folder, "studies")
        studies.mkdir()
        for number in range(images):
            Image.fromarray(dermoscopy_like(seed=number).image).save(studies / f"image_{number:03d}.png")
        with server_process(studies, Path(folder), conf={}, scoring=True) as server, requests.Session() as session:
            url = server.url
            wait_for_scoring(session, url)
            clicks = Clicks(session, url)
            clicks.time()
            for _ in range(rounds):
                for path in studies.glob("*.png"):
                    os.utime(path)  # Other pixels, as far as a score's stamp can tell.
                session.post(f"{url}/scoring/acselect").raise_for_status()
                during = []
                while is_scoring(session, url) and len(during) < limit:
                    during.append(clicks.time())
                # On a busy machine scoring, which yields to everything, may have hardly begun.
                wait_for_scoring(session, url)
                alone = [clicks.time() for _ in during]
                turns.append(
                    {"during": float(np.median(during)), "alone": float(np.median(alone)), "clicks": len(alone)}
                )
                ratio = turns[-1]["during"] / turns[-1]["alone"]
                print(f"  during {turns[-1]['during']:.0f}, alone {turns[-1]['alone']:.0f}: {ratio:.2f}", flush=True)
    ratios = [turn["during"] / turn["alone"] for turn in turns]
    print(f"  ratio {np.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")
    return {"turns": turns, "ratio": float(np.median(ratios))}


class Clicks:
    """First clicks on one image, each at another place, so that none was answered before."""

    def __init__(self, session: requests.Session, url: str) -> None:
        self._session = session
        self._url = url
        self._count = 0

    def time(self) -> float:
        """Milliseconds of the next one."""
        place = [130 + self._count % 250, 100 + self._count // 250 % 180, 0]
        self._count += 1
        params = {"foreground": [place], "background": [], "result_extension": ".nrrd"}
        began = time.perf_counter()
        self._session.post(
            f"{self._url}/infer/activefreq",
            params={"image": "image_000", "output": "image"},
            data={"params": json.dumps(params)},
        ).raise_for_status()
        return 1000 * (time.perf_counter() - began)


def processor_seconds(process: psutil.Process) -> float:
    """What a process has computed so far, which other work on the machine does not lengthen."""
    used = process.cpu_times()
    return used.user + used.system


def is_scoring(session: requests.Session, url: str) -> bool:
    answer = session.get(f"{url}/scoring/")
    return answer.ok and answer.json()["status"] in ("SUBMITTED", "RUNNING")


def wait_for_scoring(session: requests.Session, url: str) -> None:
    """Waits until the scoring that was begun has ended."""
    end = time.monotonic() + SCORING_SECONDS
    while is_scoring(session, url):
        if time.monotonic() > end:
            raise ActiveFreqError(f"scoring did not end within {SCORING_SECONDS} s")
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
