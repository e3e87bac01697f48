#!/usr/bin/env python
"""Lets many clients click on a server at once: are all masks right, how long do answers take, does its memory grow?

Example:
  python scripts/load_test.py --output out/load
  python scripts/load_test.py --server http://127.0.0.1:8000 --studies STUDIES --seconds 20 --output out/load

Without --server, one with the app is started on sample studies, on this computer alone. The masks are compared, bit for
bit, with what the same checkpoint answers in this process to the same clicks one after the other; that takes about as
long again. OUTPUT gets load.json and load.md. The exit code is 1 if a mask was wrong or a click failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
from tqdm import tqdm

from activefreq.command_line import command
from activefreq.data.pairs import files_by_stem
from activefreq.data.sample_studies import write_sample_studies
from activefreq.errors import InputError
from activefreq.evaluation.load import LoadResult, LoadScenario, run_scenario, wrong_answers
from activefreq.evaluation.load_report import MemoryCurve, ScenarioFigures, write_load_report
from activefreq.evaluation.local import LocalBackendFactory, describe_checkpoint
from activefreq.evaluation.robot import RemoteBackend
from activefreq.evaluation.server_process import server_process
from activefreq.files.volumes import read_volume


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.add_argument("--server", metavar="URL", help="a running server (default: one is started)")
    made.add_argument("--studies", type=Path, metavar="DIR", help="the folder that it serves (default: sample studies)")
    made.add_argument(
        "--weights", default="default", metavar="W", help="the checkpoint that it serves (default: default)"
    )
    made.add_argument("--cache-mb", type=int, default=64, metavar="N", help="of a server started here (default: 64)")
    made.add_argument("--clients", nargs="+", type=int, default=[1, 4, 16], metavar="N", help="(default: 1 4 16)")
    made.add_argument("--seconds", type=float, default=60, metavar="S", help="for each row of the table (default: 60)")
    made.add_argument(
        "--memory-clicks",
        type=int,
        default=2000,
        metavar="N",
        help="while memory is watched, 0 for none (default: 2000)",
    )
    made.add_argument("--output", type=Path, required=True, metavar="DIR", help="made if need be")
    return made


@command("load_test")
def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    return 0 if run(options) else 1


def run(options: argparse.Namespace) -> bool:
    """Whether all masks were right. Raises `ActiveFreqError` or `OSError` for what hinders the test."""
    if options.server is not None and options.studies is None:
        raise InputError("--server needs --studies, the folder that it serves")
    options.output.mkdir(parents=True, exist_ok=True)
    scenarios = [
        LoadScenario(clients=clients, shared=shared, seconds=options.seconds, seed=number)
        for number, (clients, shared) in enumerate((n, s) for n in options.clients for s in (False, True))
    ]
    checkpoint, description = describe_checkpoint(options.weights, None)
    with served(options) as (backend, studies, pid):
        images = middle_slices(studies)
        description |= backend.describe()
        results = []
        for scenario in tqdm(scenarios, desc="Clicking", unit="row"):
            results.append(run_scenario(backend, images, scenario, probe=backend.describe))
        watched, memory = watch_memory(backend, images, options.memory_clicks, pid)
    reference = LocalBackendFactory(checkpoint=checkpoint, mirrors=description["mirrors"])()
    everything = [*results, *watched]
    wrong = {}
    with tqdm(desc="Comparing", unit="mask", total=sum(result.clicks for result in everything)) as bar:
        for result in everything:
            wrong[id(result)] = len(wrong_answers(reference, images, [result], listener=bar.update))
    figures = [ScenarioFigures.of(result, wrong=wrong[id(result)]) for result in results]
    about = {**description, "images": list(images), "cpus": os.cpu_count(), "python": platform.python_version()}
    about |= {"load_average": os.getloadavg(), "watched_wrong": sum(wrong[id(result)] for result in watched)}
    print(write_load_report(figures, memory, about, options.output))
    failures = [failure for result in everything for failure in result.failures]
    if failures:
        print(f"load_test: {len(failures)} clicks failed, the first: {failures[0]}", file=sys.stderr)
    return not failures and not any(wrong.values())


@contextlib.contextmanager
def served(options: argparse.Namespace) -> Iterator[tuple[RemoteBackend, Path, int | None]]:
    """What answers, the folder that it serves, and its process if it is known."""
    if options.server is not None:
        yield RemoteBackend(url=options.server), options.studies, None
        return
    studies = options.studies
    if studies is None:
        studies = options.output / "studies"
        write_sample_studies(studies)
    conf = {"checkpoint": options.weights, "cache_mb": str(options.cache_mb)}
    # An own folder of fine-tuned checkpoints, so that no other than the one that is compared with is served.
    conf["finetuned"] = str((options.output / "finetuned").resolve())
    if Path(options.weights).is_file():
        conf["checkpoint"] = str(Path(options.weights).resolve())
    with server_process(studies.resolve(), options.output.resolve(), conf=conf) as server:
        yield RemoteBackend(url=server.url), studies, server.pid


def middle_slices(studies: Path) -> dict[str, np.ndarray]:
    """The image, or the middle slice, of every file in a folder of studies."""
    images = {}
    for name, (path, *_) in files_by_stem(studies).items():
        if path.is_file():
            array = read_volume(path).array
            k = len(array) // 2
            images[name if len(array) == 1 else f"{name}#k={k:03d}"] = array[
                k
            ].copy()  # not a view, which would hold the volume
    return images


def watch_memory(
    backend: RemoteBackend, images: dict[str, np.ndarray], clicks: int, pid: int | None
) -> tuple[list[LoadResult], MemoryCurve | None]:
    """Four clients click on; the server's memory is read at every tenth of the clicks."""
    if pid is None or clicks <= 0:
        return [], None
    process = psutil.Process(pid)
    counts, megabytes, results = [0], [process.memory_info().rss / 1e6], []
    for number in tqdm(range(10), desc="Watching memory", unit="tenth"):
        scenario = LoadScenario(clients=4, seconds=3600, most=max(1, clicks // 10), seed=1000 + number)
        results.append(run_scenario(backend, images, scenario))
        counts.append(counts[-1] + results[-1].clicks)
        time.sleep(0.5)
        megabytes.append(process.memory_info().rss / 1e6)
    return results, MemoryCurve(tuple(counts), tuple(round(value, 1) for value in megabytes))


if __name__ == "__main__":
    sys.exit(main())
