import dataclasses
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import FakeBackend, FakeSource

from activefreq.data.pairs import Problem
from activefreq.errors import ActiveFreqError, InputError
from activefreq.evaluation.plan import Plan, PolicySpec
from activefreq.evaluation.results import Journal
from activefreq.evaluation.rollout import RolloutConfig
from activefreq.evaluation.runner import Shard, evaluate

POLICIES = tuple(PolicySpec(name, name) for name in ("standard", "random", "oracle"))
PLAN = Plan(policies=POLICIES, users=("ideal", "human"), rollout=RolloutConfig(max_clicks=5), seed=3)


def run(folder, *, plan=PLAN, source=FakeSource(), make_backend=FakeBackend, **options):
    return evaluate(plan, source, make_backend, folder, progress=False, **options)


def timeless(outcome):
    return {
        label: [
            dataclasses.replace(
                result, clicks=tuple(dataclasses.replace(click, seconds=0.0) for click in result.clicks)
            )
            for result in results
        ]
        for label, results in outcome.results.items()
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return run(tmp_path_factory.mktemp("plain"), batch_size=1)


def test_every_entrant_on_every_image_in_order(plain):
    assert list(plain.results) == [entrant.label for entrant in PLAN.entrants]
    for results in plain.results.values():
        assert [result.name for result in results] == FakeSource().names
    assert plain.problems == list(FakeSource.problems)


@pytest.mark.parametrize("batch_size", [4, 100])
def test_batches_change_nothing(plain, tmp_path, batch_size):
    assert timeless(run(tmp_path, batch_size=batch_size)) == timeless(plain)


@pytest.mark.slow
def test_worker_processes_change_nothing(plain, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*sys.path, str(Path(__file__).parent)]))
    outcome = run(tmp_path, workers=2)
    assert timeless(outcome) == timeless(plain)


@pytest.mark.slow
def test_torchrun_shards_change_nothing(plain, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\nfrom pathlib import Path\n"
        "from test_runner import PLAN, Shard, evaluate, FakeBackend, FakeSource, timeless\n"
        "source = FakeSource(broken=(1, 4))\n"
        "outcome = evaluate(PLAN, source, FakeBackend, Path(sys.argv[1]), shard=Shard.from_environment(), "
        "progress=False)\n"
        "if outcome: Path(sys.argv[1], 'out.txt').write_text(repr((timeless(outcome), outcome.problems)))\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])}
    subprocess.run(
        [*command, f"--master-port={port}", str(program), str(tmp_path)], check=True, env=environment, timeout=300
    )
    expected = run(tmp_path / "alone", source=FakeSource(broken=(1, 4)))
    assert (tmp_path / "out.txt").read_text() == repr((timeless(expected), expected.problems))
    assert [problem.name for problem in expected.problems] == ["also.png", "image01", "image04"]


def test_bad_images_are_named_skipped_and_counted(plain, tmp_path, capsys):
    outcome = run(tmp_path, source=FakeSource(broken=(2,)))
    assert outcome.problems == [FakeSource.problems[0], Problem("image02", "image02.png: not an image")]
    for label, results in timeless(outcome).items():
        assert results == [result for result in timeless(plain)[label] if result.name != "image02"]


def test_no_usable_image_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no image could be used"):
        run(tmp_path, source=FakeSource(count=2, broken=(0, 1)))


class PowerCutError(Exception):
    pass


class FragileBackend(FakeBackend):
    """Breaks down after some questions."""

    def __init__(self, answers):
        super().__init__()
        self.left = answers

    def answer(self, requests):
        if self.left == 0:
            raise PowerCutError
        self.left -= 1
        return super().answer(requests)


def test_an_interrupted_run_goes_on_where_it_was(plain, tmp_path):
    with pytest.raises(PowerCutError):
        run(tmp_path, make_backend=lambda: FragileBackend(40), batch_size=2)
    finished = set(Journal(tmp_path / "journal").read())
    assert 0 < len(finished) < len(FakeSource().names) * len(PLAN.entrants)
    backend = FakeBackend()
    names = []
    opened = backend.open
    backend.open = lambda name, image: (names.append(name), opened(name, image))[1]
    outcome = run(tmp_path, make_backend=lambda: backend)
    assert timeless(outcome) == timeless(plain)
    keys = {entrant.key for entrant in PLAN.entrants}
    whole = {key_and_name[:2] for key_and_name in finished}
    assert names == [name for name in FakeSource().names if not {(key, name) for key in keys} <= whole]


def test_a_finished_run_asks_nothing(plain, tmp_path):
    run(tmp_path)

    def unused():
        raise AssertionError("a backend was made")

    assert timeless(run(tmp_path, make_backend=unused)) == timeless(plain)


@dataclass
class CorrectedSource(FakeSource):
    """The same images but for one, whose label was drawn anew."""

    corrected: int = 0

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return dataclasses.replace(sample, target=np.roll(sample.target, 3, 1)) if index == self.corrected else sample


@pytest.mark.parametrize("writer", [0, 1])
def test_an_image_whose_label_was_changed_is_done_again(plain, tmp_path, writer):
    """Whichever file of the journal the result of before is in."""
    run(tmp_path)
    (tmp_path / "journal" / "000.jsonl").rename(tmp_path / "journal" / f"{writer:03d}.jsonl")
    backend = FakeBackend()
    names = []
    opened = backend.open
    backend.open = lambda name, image: (names.append(name), opened(name, image))[1]
    outcome = run(tmp_path, source=CorrectedSource(corrected=2), make_backend=lambda: backend)
    assert names == ["image02"]
    fresh = run(tmp_path / "fresh", source=CorrectedSource(corrected=2))
    assert timeless(outcome) == timeless(fresh)
    assert timeless(outcome) != timeless(plain)
    # And back again: both are known by now.
    assert timeless(run(tmp_path, make_backend=None)) == timeless(plain)


def test_other_settings_do_not_take_old_results(tmp_path):
    run(tmp_path)
    other = dataclasses.replace(PLAN, rollout=RolloutConfig(max_clicks=2))
    outcome = run(tmp_path, plan=other)
    assert max(len(result.clicks) for results in outcome.results.values() for result in results) == 2


def test_another_program_does_not_take_old_results(plain, tmp_path):
    run(tmp_path)
    backend = FakeBackend()
    outcome = run(tmp_path, plan=dataclasses.replace(PLAN, program="another"), make_backend=lambda: backend)
    assert backend.batches
    assert timeless_but_for_keys(outcome) == timeless_but_for_keys(plain)


def timeless_but_for_keys(outcome):
    return {
        label: [dataclasses.replace(result, key="") for result in results]
        for label, results in timeless(outcome).items()
    }


@pytest.mark.slow
def test_errors_of_workers_arrive(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*sys.path, str(Path(__file__).parent)]))
    with pytest.raises(RuntimeError, match=r"a worker failed:[\s\S]*PowerCutError"):
        run(tmp_path, make_backend=make_fragile, workers=2)


class KilledBackend(FakeBackend):
    """Its process is killed after some questions, as by a system that is out of memory."""

    def answer(self, requests):
        if len(self.batches) == 40:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(requests)


@pytest.mark.slow
def test_a_killed_worker_is_said_to_be_and_the_run_goes_on(plain, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*sys.path, str(Path(__file__).parent)]))
    with pytest.raises(ActiveFreqError, match=r"was killed \(out of memory\?\): use fewer --workers; the same command"):
        run(tmp_path, make_backend=KilledBackend, workers=2, batch_size=2)
    backend = FakeBackend()
    assert timeless(run(tmp_path, make_backend=lambda: backend)) == timeless(plain)
    assert backend.batches


@pytest.mark.slow
def test_an_early_end_leaves_no_process_hanging(tmp_path):
    """With more images left than a pipe holds, whatever ended it."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom test_runner import FakeSource, make_fragile, run\n"
        "run(Path(sys.argv[1]), source=FakeSource(count=4000), make_backend=make_fragile, workers=2)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])}
    command = [sys.executable, "-c", program, str(tmp_path)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 1
    assert "PowerCutError" in ended.stderr


def make_fragile():
    return FragileBackend(3)


def test_shards_are_disjoint_and_whole():
    parts = [range(shard.rank, 10, shard.world) for shard in (Shard(0, 3), Shard(1, 3), Shard(2, 3))]
    assert sorted(index for part in parts for index in part) == list(range(10))


def test_the_environment_says_the_shard(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert Shard.from_environment() == Shard(0, 1)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert Shard.from_environment() == Shard(0, 1)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match="several processes are started by torchrun"):
        Shard.from_environment()
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert Shard.from_environment() == Shard(2, 4, local_rank=1)


def test_the_gpus_of_a_machine_are_dealt_out_to_its_processes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    shards = [Shard(rank, 3, local_rank=rank) for rank in range(3)]
    assert [shard.device("auto") for shard in shards] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [shard.device("cuda") for shard in shards] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [shard.device("cpu") for shard in shards] == ["cpu"] * 3
    assert [shard.device("cuda:1") for shard in shards] == ["cuda:1"] * 3
    assert Shard().device("auto") == "auto"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert shards[1].device("auto") == "auto"


@pytest.mark.parametrize("options", [{"workers": 0}, {"batch_size": 0}])
def test_nobody_to_work_is_an_error(tmp_path, options):
    with pytest.raises(InputError, match="at least 1 worker"):
        run(tmp_path, **options)
