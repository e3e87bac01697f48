"""The folder of a training: what it was asked to do, which sample is in which part, and whether it may go on."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from activefreq.data.pairs import Problem
from activefreq.errors import CheckpointError, InputError
from activefreq.files.atomic import atomic_write
from activefreq.models.checkpoint import load_checkpoint
from activefreq.training.config import TrainingConfig, to_plain
from activefreq.training.datasets import Placement
from activefreq.training.state import state_files

CONFIG, RUN, SPLIT, PROBLEMS = "config.yaml", "run.yaml", "split.csv", "problems.txt"
LOCK = ".lock"

PLACES = frozenset({"images", "labels", "include", "exclude"})
"""Settings of a data set that may change between two runs, as long as the samples are the same."""


@contextmanager
def own_folder(folder: Path, *, resume: bool) -> Iterator[None]:
    """Makes the folder, and keeps other processes from training in it until the block ends, or this process is killed.

    Raises:
        InputError: A training is in it already and is not to be resumed, or goes on there now.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    if not resume and (state_files(folder) or any(folder.glob("*.pt"))):
        raise InputError(f"{folder} holds a training: --resume continues it, another folder begins a new one")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another process is training in {folder}") from None
    try:
        for unfinished in folder.glob(".writing-*"):
            # Left by a process that was killed while it wrote.
            shutil.rmtree(unfinished, ignore_errors=True)
        yield
    finally:
        lock.release()


def write_records(
    folder: Path,
    config: TrainingConfig,
    placements: Sequence[Placement],
    problems: Sequence[Problem],
    run: dict[str, Any],
) -> None:
    """Writes config.yaml, split.csv and problems.txt, and adds this run to run.yaml.

    Args:
        run: How it was started, as plain YAML values.

    Raises:
        InputError: The folder holds a training that began with other weights, on other samples, or on samples in other
            parts, or with other settings of its data sets (but for where they lie).
    """
    begun = bool(state_files(folder))
    if begun and (folder / SPLIT).exists():
        _refuse_other_samples(folder, placements)
    runs = yaml.safe_load((folder / RUN).read_text()) if begun and (folder / RUN).exists() else []
    if runs:
        if runs[-1].get("start") != run.get("start"):
            raise InputError(f"the training in {folder} began with {runs[-1].get('start')}, not {run.get('start')}")
        _refuse_other_data(folder, runs[-1].get("data", []), run.get("data", []))
    _write(folder / SPLIT, _split_table(placements))
    _write(folder / CONFIG, yaml.safe_dump(to_plain(config), sort_keys=False))
    _write(folder / RUN, yaml.safe_dump([*runs, run], sort_keys=False))
    _write(folder / PROBLEMS, "".join(f"{problem}\n" for problem in problems))


def refuse_lost_states(folder: Path, config: TrainingConfig) -> None:
    """Raises `InputError` if a training in the folder, which has no state, had one once.

    Checkpoints without a state are otherwise those of a training that was killed between the two: it begins again.
    """
    for path in sorted(folder.glob("*.pt")):
        try:
            step = load_checkpoint(path).info.get("step")
        except CheckpointError:
            step = None
        if step != first_state_step(config):
            raise InputError(
                f"{folder} holds {path.name}, but no state to go on from: a training there would begin anew and "
                "replace it; another folder begins a new one"
            )


def first_state_step(config: TrainingConfig) -> int:
    """The step after which a training saves its first state."""
    return min(step for step in (config.save_every, config.validate_every, config.steps) if step)


def _refuse_other_samples(folder: Path, placements: Sequence[Placement]) -> None:
    text = (folder / SPLIT).read_text(encoding="utf-8", errors="surrogateescape")
    now = _split_table(placements)
    if text == now:
        return
    before, after = ({row["data_set"] + "/" + row["name"]: row for row in _rows(table)} for table in (text, now))
    faults = [(name, "is not there any more") for name in before if name not in after]
    faults += [(name, "is new") for name in after if name not in before]
    for name in before.keys() & after.keys():
        # A column that there was not when the training began cannot have changed.
        changed = [key for key in before[name] if before[name][key] != after[name].get(key)]
        if changed:
            what = "pixels are" if changed == ["digest"] else f"{changed[0]} is"
            faults.append((name, f"has changed: its {what} another"))
    if faults:
        name, fault = min(faults)
        raise InputError(
            f"the data of the training in {folder} has changed: {name} {fault}"
            + (f", and so on for {len(faults)} samples" if len(faults) > 1 else "")
        )
    if [*before] != [*after]:
        raise InputError(f"the data of the training in {folder} has changed: its order")


def _rows(table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table)))


def _refuse_other_data(folder: Path, before: list[dict[str, Any]], now: list[dict[str, Any]]) -> None:
    for number, (one, other) in enumerate(zip(before, now, strict=True), start=1):
        for name in sorted((one.keys() | other.keys()) - PLACES):
            if one.get(name) != other.get(name):
                raise InputError(
                    f"the training in {folder} has {name} {one.get(name)} for data set {number}, not {other.get(name)}"
                )


def _split_table(placements: Sequence[Placement]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["data_set", "name", "group", "part", "digest"])
    rows.writerows([row.data_set, row.name, row.group, row.part, row.digest] for row in placements)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        # Names of files need not be UTF-8.
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
