from __future__ import annotations

import pytest

from activefreq.errors import InputError
from activefreq.launcher import is_launched

TORCHRUN = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}


@pytest.mark.parametrize(
    ("environment", "launched"), [({}, False), ({"WORLD_SIZE": "1"}, False), ({"RANK": "0"}, False), (TORCHRUN, True)]
)
def test_the_environment_says_it(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], launched: bool) -> None:
    set_to(monkeypatch, environment)
    assert is_launched() == launched


@pytest.mark.parametrize("missing", ["RANK", "LOCAL_RANK"])
def test_several_processes_that_nobody_numbered_are_told(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    set_to(monkeypatch, {name: value for name, value in TORCHRUN.items() if name != missing})
    with pytest.raises(InputError, match="several processes are started by torchrun"):
        is_launched()


def set_to(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
