"""Runs an evaluation: resumable, in batches, worker processes and `torchrun` shards, with the same results in all."""

from __future__ import annotations

import datetime
import multiprocessing
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed
from tqdm import tqdm

from activefreq.data.pairs import Problem
from activefreq.data.samples import Sample
from activefreq.errors import ActiveFreqError, InputError
from activefreq.evaluation.backends import Backend
from activefreq.evaluation.plan import Plan
from activefreq.evaluation.results import ImageResult, Journal, ResultKey
from activefreq.evaluation.rollout import Job, OpenImage, roll_out
from activefreq.launcher import is_launched


class Source(Protocol):
    """Images with known masks, such as `activefreq.data.SampleSource`; can be sent to another process."""

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def problems(self) -> Sequence[Problem]:
        """What was found but cannot be used."""

    def __getitem__(self, index: int) -> Sample:
        """Raises `InputError` for what cannot be read."""


@dataclass(frozen=True)
class Shard:
    """Which part of the images is this process's, as `torchrun` says."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @staticmethod
    def from_environment() -> Shard:
        """Of `torchrun`'s environment variables; the whole if there are none. Raises as `is_launched`."""
        if not is_launched():
            return Shard()
        return Shard(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))

    def device(self, name: str) -> str:
        """Where this process computes if `name` is asked for: the GPUs of a machine are dealt out to its processes."""
        if self.world == 1 or name not in ("auto", "cuda") or not torch.cuda.is_available():
            return name
        return f"cuda:{self.local_rank % torch.cuda.device_count()}"


@dataclass(frozen=True)
class Outcome:
    """What came of an evaluation.

    Attributes:
        results: Label of each entrant of the plan -> results on all images that every entrant finished.
        problems: What was skipped, while the images were sought and since.
    """

    results: dict[str, list[ImageResult]]
    problems: list[Problem]


_Todo = tuple[int, frozenset[str]]
"""An image's index, and the keys of the entrants that are still to annotate it."""


@dataclass(frozen=True)
class _Work:
    """What a worker must know."""

    plan: Plan
    source: Source
    make_backend: Callable[[], Backend]
    batch_size: int
    threads: int | None = None


def evaluate(
    plan: Plan,
    source: Source,
    make_backend: Callable[[], Backend],
    folder: Path,
    *,
    workers: int = 1,
    batch_size: int = 8,
    shard: Shard = Shard(),
    progress: bool = True,
) -> Outcome | None:
    """Annotates all images with all entrants of a plan, except what a journal in `folder` already has.

    What it has counts if image and target are still the same.

    Args:
        plan: What to do.
        source: The images.
        make_backend: Called once in each worker.
        folder: For the journal, shared by all shards; made if need be.
        workers: Processes; 1 stays in this one. Each gets its share of the CPU's cores.
        batch_size: Annotations at the same time in each worker.
        shard: The part of the images that this process does.
        progress: Show a bar (first shard only).

    Returns:
        Everything, in the first shard, once all shards are done; None in the others.

    Raises:
        InputError: No image could be used, or there is less than one worker or place in a batch.
        ActiveFreqError: A worker process was killed.
    """
    if workers < 1 or batch_size < 1:
        raise InputError(f"at least 1 worker and 1 place in a batch are needed, not {workers} and {batch_size}")
    journal = Journal(folder / "journal", writer=shard.rank)
    done = journal.read()
    keys = [entrant.key for entrant in plan.entrants]
    mine = range(shard.rank, len(source.names), shard.world)
    todo = _todo(source, keys, done, mine, progress=progress and shard.rank == 0)
    work = _Work(plan, source, make_backend, batch_size)
    total = len(mine) * len(keys)
    with tqdm(
        total=total,
        initial=total - sum(len(missing) for _, missing in todo),
        unit="image",
        disable=not progress or shard.rank != 0,
        smoothing=0.1,
    ) as bar:
        for problem in source.problems if shard.rank == 0 else ():
            bar.write(f"skipped {problem}", file=sys.stderr)
        problems = []
        for item in _run(work, todo, workers):
            if isinstance(item, Problem):
                problems.append(item)
                bar.write(f"skipped {item}", file=sys.stderr)
                bar.update(len(keys))
            else:
                journal.append(item)
                bar.update()
    problems = _gather(problems, shard)
    return _outcome(plan, source, journal, problems) if shard.rank == 0 else None


def _todo(
    source: Source, keys: Sequence[str], done: Iterable[ResultKey], mine: Sequence[int], *, progress: bool
) -> list[_Todo]:
    """What is not done, or was done on other pixels."""
    digests: dict[str, dict[str, set[str]]] = {}
    for key, name, digest in done:
        if key in keys:
            digests.setdefault(name, {}).setdefault(key, set()).add(digest)
    todo = []
    for index in tqdm(mine, desc="Checking what is done", unit="image", disable=not progress or not digests):
        known = digests.get(source.names[index], {})
        now = _digest(source, index) if known else None
        missing = frozenset(key for key in keys if now is None or now not in known.get(key, ()))
        if missing:
            todo.append((index, missing))
    return todo


def _digest(source: Source, index: int) -> str | None:
    """None for what cannot be read, which is told when it is its turn."""
    try:
        return source[index].digest
    except InputError:
        return None


def _run(work: _Work, todo: list[_Todo], workers: int) -> Iterator[ImageResult | Problem]:
    if not todo:
        return iter(())
    if workers == 1:
        return _annotate(work, todo)
    return _run_workers(work, todo, min(workers, len(todo)))


def _annotate(work: _Work, todo: Iterable[_Todo]) -> Iterator[ImageResult | Problem]:
    """All entrants on all images, in this process."""
    backend = work.make_backend()
    problems: list[Problem] = []

    def jobs() -> Iterator[Job]:
        for index, missing in todo:
            try:
                sample = work.source[index]
                image = OpenImage(backend, sample)
            except InputError as error:
                name = work.source.names[index]
                problems.append(Problem(name, str(error).removeprefix(f"{name}: ")))
                continue
            for entrant in work.plan.entrants:
                if entrant.key in missing:
                    person = work.plan.person(entrant, sample.name)
                    yield Job(entrant.key, image, person, entrant.policy.acselect)

    for result in roll_out(backend, jobs(), work.plan.rollout, batch_size=work.batch_size):
        yield result
        yield from _emptied(problems)
    yield from _emptied(problems)


def _emptied(problems: list[Problem]) -> Iterator[Problem]:
    while problems:
        yield problems.pop(0)


def prepare_workers() -> ForkServerContext:
    """Starts the process that workers are forked from: a clean one, which does their imports once for all of them.

    They take seconds; called before images are sought, both happen at the same time. `evaluate` does it otherwise.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "activefreq.evaluation.local"])
    forkserver.ensure_running()
    return context


_KILLED = "a worker process was killed (out of memory?): use fewer --workers; the same command goes on from here"


def _run_workers(work: _Work, todo: list[_Todo], workers: int) -> Iterator[ImageResult | Problem]:
    context = prepare_workers()
    tasks, answers = context.Queue(), context.Queue()
    for item in todo:
        tasks.put(item)
    for _ in range(workers):
        tasks.put(None)
    threads = max(1, (os.cpu_count() or 1) // workers)
    processes = [
        context.Process(target=_worker, args=(_Work(**{**vars(work), "threads": threads}), tasks, answers), daemon=True)
        for _ in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        running = workers
        while running:
            try:
                answer = answers.get(timeout=1.0)
            except queue.Empty:
                for process in processes:
                    if process.exitcode == -signal.SIGKILL:
                        raise ActiveFreqError(_KILLED) from None
                    if process.exitcode not in (None, 0):
                        raise RuntimeError(f"a worker process ended with exit code {process.exitcode}") from None
                continue
            if answer is None:
                running -= 1
            elif isinstance(answer, _Failure):
                raise answer.error
            else:
                yield answer
    finally:
        for process in processes:
            process.terminate()
            process.join()
        # What nobody will take any more: this process would wait for it to be taken before it ends.
        tasks.close()
        tasks.cancel_join_thread()


@dataclass(frozen=True)
class _Failure:
    """An error that ended a worker."""

    error: Exception = field()


def _end_with_the_parent() -> None:
    """A process that is killed stops nobody: without this its workers would go through all that is left, for no one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _worker(work: _Work, tasks: Any, answers: Any) -> None:
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    if work.threads is not None:
        torch.set_num_threads(work.threads)
    try:
        for item in _annotate(work, iter(tasks.get, None)):
            answers.put(item)
    except ActiveFreqError as error:
        answers.put(_Failure(error))
    except Exception:
        answers.put(_Failure(RuntimeError(f"a worker failed:\n{traceback.format_exc()}")))
    else:
        answers.put(None)


def _gather(problems: list[Problem], shard: Shard) -> list[Problem]:
    """All shards' problems; also waits until all are done."""
    if shard.world == 1:
        return problems
    torch.distributed.init_process_group(
        "gloo", rank=shard.rank, world_size=shard.world, timeout=datetime.timedelta(days=7)
    )
    try:
        gathered: list[Any] = [None] * shard.world
        torch.distributed.all_gather_object(gathered, problems)
    finally:
        torch.distributed.destroy_process_group()
    return [problem for part in gathered for problem in part]


def _outcome(plan: Plan, source: Source, journal: Journal, problems: list[Problem]) -> Outcome:
    found: dict[tuple[str, str], list[ImageResult]] = {}
    for result in journal.read().values():
        found.setdefault((result.key, result.name), []).append(result)
    skipped = {problem.name for problem in problems}
    indices = {name: index for index, name in enumerate(source.names) if name not in skipped}
    if not indices:
        raise InputError("no image could be used")

    def valid(key: str, name: str) -> ImageResult:
        results = found[key, name]
        if len(results) == 1:
            return results[0]
        # An image or its mask was changed since the first: the pixels say which result is theirs.
        now = _digest(source, indices[name])
        return next(result for result in results if result.digest == now)

    return Outcome(
        results={entrant.label: [valid(entrant.key, name) for name in indices] for entrant in plan.entrants},
        problems=sorted((*source.problems, *problems), key=lambda problem: problem.name),
    )
