"""Trainings that wait, with MONAI Label's own functions and processes that only sleep."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from monailabel.endpoints import train
from monailabel.utils.async_tasks import utils

from lib import task_queue
from lib.routes import in_thread
from lib.task_queue import TaskQueue, install_queue

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(300)"]


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[str]]]:
    """Nothing has run before, and what is started sleeps; the processes."""
    processes: list[subprocess.Popen[str]] = []
    popen = subprocess.Popen

    def sleep(_: list[str], **options: Any) -> subprocess.Popen[str]:
        processes.append(popen(SLEEP, **options))
        return processes[-1]

    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(utils.subprocess, "Popen", sleep)
    for name in ("background_tasks", "background_processes", "background_executors"):
        monkeypatch.setattr(utils, name, {})
    install_queue("train")
    queue = utils.background_executors["train"]
    yield processes
    queue.cancel_waiting()
    for process in processes:
        process.kill()
    queue.shutdown()


def stop() -> Any:
    """What `DELETE /train/` does."""
    return in_thread(train.api_stop, of_task=True)(user=None)


def post() -> dict[str, Any]:
    task: dict[str, Any] = utils.run_background_task({"model": "activefreq"}, "train")
    return task


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_stop_takes_back_what_waits_and_the_next_training_runs(started: list[subprocess.Popen[str]]) -> None:
    tasks = [post() for _ in range(3)]
    wait_for(lambda: tasks[0]["status"] == "RUNNING")
    assert [task["status"] for task in tasks] == ["RUNNING", "SUBMITTED", "SUBMITTED"]
    assert stop() is tasks[0]
    assert started[0].wait(timeout=60) == -9
    # At once, while the thread of the first one may not have noticed yet.
    following = post()
    wait_for(lambda: following["status"] == "RUNNING")
    assert [task["status"] for task in tasks] == ["STOPPED"] * 3
    assert all("end_ts" in task for task in tasks)
    assert len(started) == 2
    assert list(utils.processes("train")) == [following["id"]]
    assert stop() is following
    wait_for(lambda: not utils.background_executors["train"].is_busy())
    assert utils.processes("train") == {}


def test_a_training_whose_process_is_about_to_start_is_stopped(
    started: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep, asked, going = utils.subprocess.Popen, threading.Event(), threading.Event()

    def slow(command: list[str], **options: Any) -> subprocess.Popen[str]:
        asked.set()
        assert going.wait(60)
        return sleep(command, **options)

    monkeypatch.setattr(utils.subprocess, "Popen", slow)
    tasks = [post(), post()]
    assert asked.wait(60)
    assert tasks[0]["status"] == "SUBMITTED"
    threading.Timer(0.2, going.set).start()
    assert stop() is tasks[0]
    wait_for(lambda: not utils.background_executors["train"].is_busy())
    assert [task["status"] for task in tasks] == ["STOPPED", "STOPPED"]
    assert len(started) == 1


def test_what_waits_is_taken_back_also_where_no_process_can_be_stopped(
    started: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = threading.Event()
    monkeypatch.setattr(task_queue, "START_SECONDS", 0.1)
    monkeypatch.setattr(utils, "_task_func", lambda task, method, callback: ending.wait(60))
    try:
        tasks = [post(), post()]
        wait_for(lambda: utils.background_executors["train"]._work_queue.qsize() == 1)
        assert stop() is tasks[1]
        assert tasks[1]["status"] == "STOPPED"
    finally:
        ending.set()


def test_nothing_to_stop() -> None:
    assert stop() is None
    utils.background_executors.clear()
    assert stop() is None
    install_queue("train")
    queue = utils.background_executors["train"]
    assert isinstance(queue, TaskQueue)
    install_queue("train")
    assert utils.background_executors["train"] is queue
