"""A MONAI Label server with the app, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

APP = Path(__file__).resolve().parents[1] / "apps" / "activefreq"
START_SECONDS = 600


@dataclass(frozen=True)
class Server:
    """A running server: its address, its studies (a folder, or a DICOMweb URL), and what it has printed."""

    url: str
    studies: Path | str
    output: Path
    process: subprocess.Popen[bytes]

    def tail(self) -> str:
        return self.output.read_text(errors="replace")[-4000:]

    def tasks(self, method: str) -> list[dict[str, Any]]:
        """All trainings ("train") or scorings ("scoring") that were begun since the start, those that ended too."""
        answer = requests.get(f"{self.url}/{method}/", params={"all": True}, timeout=60)
        if answer.status_code == 404:
            return []
        answer.raise_for_status()
        tasks: list[dict[str, Any]] = answer.json()
        return tasks


def free_port() -> int:
    """One that stays free until a server has started, which takes seconds.

    It is none that the system gives to connections, and none that another process of the tests (pytest-xdist) chooses.
    """
    first = 20_000 + 500 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for port in random.Random().sample(range(first, first + 500), 500):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"no port from {first} on is free")


@contextlib.contextmanager
def running_server(
    studies: Path | str,
    folder: Path,
    *,
    conf: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    prefix: Sequence[str] = (),
) -> Iterator[Server]:
    """Starts a server on a free port of this machine, and stops it at the end.

    Args:
        studies: Served folder or DICOMweb URL.
        folder: For what the server writes beside: its output and the uploaded sessions. The server runs in it, so
            that nothing depends on being started from the repository.
        conf: Settings of the app.
        environment: In addition to this process's own.
        arguments: Further arguments of `start_server`.
        prefix: What runs the command that comes after it, in the same process in the end.
    """
    port = free_port()
    command = [
        *prefix,
        sys.executable,
        "-m",
        "monailabel.main",
        "start_server",
        "--app",
        str(APP),
        "--studies",
        str(studies),
    ]
    command += ["--host", "127.0.0.1", "--port", str(port), *arguments]
    for name, value in conf.items():
        command += ["--conf", name, value]
    variables = {
        **os.environ,
        "MONAI_LABEL_SESSION_PATH": str(folder / "sessions"),
        "OMP_NUM_THREADS": "1",
        **(environment or {}),
    }
    output = folder / "server.log"
    with output.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    server = Server(f"http://127.0.0.1:{port}", studies, output, process)
    try:
        _wait(server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(server: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise RuntimeError(f"the server ended with {server.process.returncode}:\n{server.tail()}")
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(f"{server.url}/info/", timeout=60).ok:
                return
        time.sleep(0.3)
    raise RuntimeError(f"the server did not answer within {START_SECONDS} s:\n{server.tail()}")
