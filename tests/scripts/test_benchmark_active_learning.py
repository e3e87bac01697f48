from __future__ import annotations

import contextlib
import http.server
import importlib.util
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import ClassVar
from urllib.parse import urlsplit

import pytest
from documented import documented_arguments

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "benchmark_active_learning.py"


class StandIn(http.server.BaseHTTPRequestHandler):
    """What the script asks of a server, which scores for as long as it takes to be asked three times."""

    asked: ClassVar[list[str]]
    scoring: ClassVar[list[str]]

    def do_GET(self) -> None:
        assert self.path == "/scoring/"
        self.answer({"status": self.scoring.pop() if self.scoring else "DONE"})

    def do_POST(self) -> None:
        address = urlsplit(self.path)
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.asked.append(address.path)
        if address.path == "/scoring/acselect":
            self.scoring += ["RUNNING"] * 2 + ["SUBMITTED"]
        self.answer({})

    def answer(self, content: dict[str, str]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class Address:
    url: str
    pid: int


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script without a server: beside other work, a real one takes minutes to score."""
    specification = importlib.util.spec_from_file_location("benchmark_active_learning", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)

    @contextlib.contextmanager
    def stand_in(studies: Path, folder: Path, *, conf: Mapping[str, str], scoring: bool) -> Iterator[Address]:
        assert scoring
        assert len(list(studies.glob("*.png"))) in (2, 5)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), StandIn) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield Address(f"http://127.0.0.1:{server.server_port}", os.getpid())
            server.shutdown()

    monkeypatch.setattr(StandIn, "asked", [], raising=False)
    monkeypatch.setattr(StandIn, "scoring", [], raising=False)
    monkeypatch.setattr(module, "server_process", stand_in)
    return module


def test_small_benchmark(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--images", "5", "--samples", "2", "--rounds", "1", "--scored", "2", "--clicks", "3"]
    assert script.main([*small, "--output", str(tmp_path)]) == 0
    figures = json.loads((tmp_path / "benchmark_active_learning.json").read_text())
    assert set(figures["next_sample_ms"]) == {"acselect", "acselect_score", "random", "entropy", "foreground_random"}
    for times in figures["next_sample_ms"].values():
        assert 0 < times["median"] <= times["most"]
        assert times["on a processor"] >= 0
    (turn,) = figures["clicks"]["turns"]
    assert turn["clicks"] == 3
    assert figures["clicks"]["ratio"] == pytest.approx(turn["during"] / turn["alone"])
    assert f"ratio {figures['clicks']['ratio']:.2f}" in capsys.readouterr().out
    # A first sample and two for each strategy; a click to begin with, three while it scores, and three alone.
    assert Counter(StandIn.asked) == {
        **{f"/activelearning/{strategy}": 3 for strategy in figures["next_sample_ms"]},
        "/scoring/acselect": 1,
        "/infer/activefreq": 7,
    }


@pytest.mark.parametrize("name", ["images", "samples", "rounds", "scored", "clicks"])
def test_wrong_options_end_with_one_line(script: ModuleType, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main([f"--{name}", "0"]) == 2
    assert capsys.readouterr().err == f"benchmark_active_learning: --{name} must be at least 1, not 0\n"


def test_documented_commands_are_known(script: ModuleType) -> None:
    """They take long as they stand; their size in a small form is tested above."""
    for arguments in documented_arguments("active_learning.md", "benchmark_active_learning.py"):
        assert script.main([*arguments, "--rounds", "0"]) == 2
