"""A server with the app in a process of its own, on a free port of this machine, for as long as a test takes."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import requests

from activefreq.evaluation.robot import ServerError

APP = Path(__file__).resolve().parents[3] / "apps" / "activefreq"
START_SECONDS = 600.0


@dataclass(frozen=True)
class ServerProcess:
    """url: Where it answers; pid: Its process; log: What it prints."""

    url: str
    pid: int
    log: Path


@contextlib.contextmanager
def server_process(
    studies: Path, folder: Path, *, conf: Mapping[str, str], scoring: bool = False
) -> Iterator[ServerProcess]:
    """Within the block, MONAI Label serves the studies with the app.

    Args:
        studies: Served folder.
        folder: For the server's output and what is uploaded to it.
        conf: Settings of the app.
        scoring: Whether it scores images by itself, in another process.

    Raises:
        ServerError: It does not start; the message says where its output is.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", str(APP), "--studies", str(studies)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    for name, value in conf.items():
        command += ["--conf", name, value]
    variables = {
        "MONAI_LABEL_SESSION_PATH": str(folder / "sessions"),
        "MONAI_LABEL_AUTO_UPDATE_SCORING": str(scoring).lower(),
    }
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = ServerProcess(f"http://127.0.0.1:{port}", process.pid, log)
    try:
        _wait(process, server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], server: ServerProcess) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(f"the server ended with {process.returncode}; see {server.log}")
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{server.url}/info/", timeout=60).ok:
                return
        time.sleep(0.3)
    raise ServerError(f"the server did not answer within {START_SECONDS:.0f} s; see {server.log}")
