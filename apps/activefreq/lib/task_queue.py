"""The queue of a kind of task that MONAI Label runs one after the other, from which waiting ones can be taken back.

MONAI Label stops the task that runs, and the next one begins at once: whoever asked for three trainings has to stop
three times, and guess when.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from monailabel.utils.async_tasks import utils

START_SECONDS = 10.0
"""What a task may take from its turn until it has a process, which then can be stopped."""


class TaskQueue(ThreadPoolExecutor):
    """Runs what MONAI Label submits, a function whose first argument is the task; one at a time."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self._guard = threading.Lock()
        self._submitted: list[tuple[Future[Any], dict[str, Any]]] = []

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        with self._guard:
            future = super().submit(function, *arguments, **options)
            self._submitted = [(other, task) for other, task in self._submitted if not other.done()]
            self._submitted.append((future, arguments[0]))
            return future

    def cancel_waiting(self) -> list[dict[str, Any]]:
        """Takes back what has not begun, and returns these tasks."""
        with self._guard:
            cancelled = [task for future, task in self._submitted if future.cancel()]
            self._submitted = [(future, task) for future, task in self._submitted if not future.done()]
        for task in cancelled:
            task["status"] = "STOPPED"
            task["end_ts"] = datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S")
        return cancelled

    def is_busy(self) -> bool:
        """Whether a task runs, or waits."""
        with self._guard:
            return any(not future.done() for future, _ in self._submitted)


def install_queue(method: str) -> None:
    """Has MONAI Label put the tasks of a method, such as "train", into a `TaskQueue`."""
    if not isinstance(utils.background_executors.get(method), TaskQueue):
        utils.background_executors[method] = TaskQueue()


def cancel_waiting(method: str) -> list[dict[str, Any]]:
    """Takes back the tasks of a method that wait, and returns them; after that, one that runs can be stopped.

    To be called before MONAI Label's own stop: else the next task would begin between the two.
    """
    queue = utils.background_executors.get(method)
    if not isinstance(queue, TaskQueue):
        return []
    cancelled = queue.cancel_waiting()
    deadline = time.monotonic() + START_SECONDS
    while queue.is_busy() and not utils.processes(method) and time.monotonic() < deadline:
        time.sleep(0.01)  # its turn has come, and its process is about to be there
    return cancelled
