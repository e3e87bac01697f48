from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from lib.background import Pace, is_scoring_process


@pytest.mark.parametrize(
    ("arguments", "scoring"),
    [
        (["/x/site-packages/monailabel/interfaces/utils/app.py", "-m", "scoring", "-r", "{}"], True),
        (["/x/site-packages/monailabel/interfaces/utils/app.py", "-m", "train", "-r", "{}"], False),
        (["/x/site-packages/monailabel/interfaces/utils/app.py", "-r", "scoring"], False),
        (["/x/site-packages/monailabel/main.py", "start_server", "-m", "scoring"], False),
        ([""], False),
        ([], False),
    ],
)
def test_tells_the_scoring_process_from_the_others(arguments: list[str], scoring: bool) -> None:
    assert is_scoring_process(arguments) == scoring


@pytest.mark.skipif(not hasattr(os, "nice"), reason="priorities are POSIX's")
def test_yields_to_others_in_a_process_of_its_own() -> None:
    code = (
        "from lib.background import *; import os; yield_to_others(); print(os.nice(0), os.environ['OMP_NUM_THREADS'])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["19", "1"]


def _work(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_pauses_in_proportion_to_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    pace = Pace(0.25)
    _work(0.05)
    pace.rest()
    assert 3 * 0.05 <= pauses[0] < 3 * 0.1
    pace.rest()
    assert pauses[1] < 0.05
    unbounded = Pace(1.0)
    _work(0.01)
    unbounded.rest()
    assert pauses[2] == 0.0
