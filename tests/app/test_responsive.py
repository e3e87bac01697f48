"""The server answers others while it computes a click, saves a label or chooses a sample."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from filelock import FileLock
from monailabel.client import MONAILabelClient
from server import Server

from lib.active_store import FOLDER

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("server")]


def test_info_is_answered_while_a_click_is_computed(client: MONAILabelClient, server: Server) -> None:
    points = [[10 + 2 * (n % 30), 10 + 2 * (n // 30), 0] for n in range(90)]  # a network pass each
    params = {"foreground": points, "background": [], "result_extension": ".nrrd"}
    answered = 0
    with ThreadPoolExecutor(1) as pool:
        click = pool.submit(client.infer, "activefreq", "good_colour", params)
        while not click.done():
            assert requests.get(f"{server.url}/info/", timeout=120).ok
            answered += 1
        click.result()
    # A server that blocks answers once, in the gap before the click arrives, and once when it is done.
    assert answered > 3


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


@pytest.mark.xdist_group("worn_server")
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
            for _ in range(5):
                # A server that waits in its loop would answer when the test lets go, which is never.
                assert requests.get(f"{worn_server.url}/info/", timeout=20).ok
            assert not waiting.done()
        assert waiting.result().ok
