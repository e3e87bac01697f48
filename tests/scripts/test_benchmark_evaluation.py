from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_evaluation.py"
SPEC = importlib.util.spec_from_file_location("benchmark_evaluation", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
script = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(script)


def test_no_rounds_are_refused_before_anything_is_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "acselect_times", lambda: pytest.fail("it was timed"))
    assert script.main(["--images", "nowhere", "--rounds", "0"]) == 2
    assert capsys.readouterr().err == "benchmark_evaluation: --rounds must be at least 1, not 0\n"
