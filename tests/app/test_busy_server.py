"""A server that is busy answers others, and does not grow."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
from filelock import FileLock
from server import Server

from lib.active_store import FOLDER

pytestmark = pytest.mark.server


def put_label(server: Server) -> requests.Response:
    label = (Path(server.studies) / "volume.nrrd").read_bytes()
    query = {"image": "volume", "tag": "draft"}
    return requests.put(f"{server.url}/datastore/label", params=query, files={"label": ("x.nrrd", label)}, timeout=300)


def ask_for_sample(server: Server) -> requests.Response:
    return requests.post(f"{server.url}/activelearning/random", json={}, timeout=300)


@contextlib.contextmanager
def labels_held(server: Server) -> Iterator[None]:
    """The studies as if another process were writing to them."""
    with FileLock(Path(server.studies) / ".lock"):
        yield


@contextlib.contextmanager
def turns_held(server: Server) -> Iterator[None]:
    """The memory of scores and turns as if another process were writing to it."""
    connection = sqlite3.connect(Path(server.studies) / FOLDER / "active.sqlite", isolation_level=None)
    with contextlib.closing(connection):
        connection.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize(("held", "action"), [(labels_held, put_label), (turns_held, ask_for_sample)])
def test_info_is_answered_while_a_label_is_saved_and_a_sample_chosen(
    worn_server: Server,
    held: Callable[[Server], contextlib.AbstractContextManager[None]],
    action: Callable[[Server], requests.Response],
) -> None:
    assert ask_for_sample(worn_server).ok
    with ThreadPoolExecutor(1) as pool:
        with held(worn_server):
            waiting = pool.submit(action, worn_server)
            for _ in range(3):
                # A server that waits in its loop would answer when the test lets go, which is never.
                assert requests.get(f"{worn_server.url}/info/", timeout=120).ok
            assert not waiting.done()
        assert waiting.result().ok


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_thousand_clicks_leave_no_memory_behind(worn_server: Server) -> None:
    """Its caches hold 1 MB each, which the first clicks fill."""
    process = psutil.Process(worn_server.process.pid)
    generator = np.random.default_rng(0)
    megabytes = []
    with requests.Session() as session:
        for number in range(2000):
            if number % 400 == 0:
                megabytes.append(process.memory_info().rss / 1e6)
            points = generator.integers(0, [24, 20, 5], (generator.integers(1, 4), 3)).tolist()
            answer = session.post(
                f"{worn_server.url}/infer/activefreq?image=volume",
                files={"params": (None, json.dumps({"foreground": points, "client_id": str(number)}))},
                timeout=300,
            )
            assert answer.ok, answer.text
    megabytes.append(process.memory_info().rss / 1e6)
    # Kept for each of 1600 clicks, a prepared slice would be 9 MB, a decoded volume 15 MB, and a network far more.
    assert megabytes[-1] - megabytes[1] < 5, megabytes
