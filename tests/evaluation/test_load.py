from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from activefreq.clicks import Click
from activefreq.errors import InputError
from activefreq.evaluation.load import LoadScenario, mask_digest, run_scenario, wrong_answers
from activefreq.evaluation.load_report import Latency, MemoryCurve, ScenarioFigures, write_load_report
from activefreq.evaluation.robot import ServerError
from activefreq.session.state import SessionState

IMAGES = {name: np.full((20, 24 + 4 * number), 50 * number, np.uint8) for number, name in enumerate("abc")}


class Painter:
    """Paints a square around each click; `spoil` may change what is seen. Remembers how many asked at once."""

    def __init__(self, spoil: Any = None) -> None:
        self._spoil = spoil
        self._lock = threading.Lock()
        self._asking = 0
        self.most = 0
        self.opened: set[str] = set()

    def open(self, name: str, image: np.ndarray) -> np.ndarray:
        self.opened.add(name)
        return image

    def start(self, image: np.ndarray, *, automatic: bool) -> SessionState:
        return SessionState.start(image.shape)

    def answer(self, requests: Sequence[tuple[np.ndarray, SessionState, Click]]) -> list[SessionState]:
        with self._lock:
            self._asking += 1
            self.most = max(self.most, self._asking)
        time.sleep(0.002)
        ((_, state, click),) = requests
        probability = state.probability.copy()
        probability[max(0, click.y - 3) : click.y + 4, max(0, click.x - 3) : click.x + 4] = click.positive
        if self._spoil is not None:
            self._spoil(probability, state.clicks)
        with self._lock:
            self._asking -= 1
        return [SessionState((*state.clicks, click), probability, progressive=False)]


def scenario(**changes: Any) -> LoadScenario:
    return LoadScenario(**{"clients": 4, "seconds": 60, "most": 80, "walk": 5, **changes})


def test_clients_click_at_once_and_never_alike() -> None:
    server = Painter()
    result = run_scenario(server, IMAGES, scenario())
    assert server.most > 1
    assert server.opened == set(IMAGES)
    assert 80 <= result.clicks < 80 + 4
    assert len(result.answers) == 4
    walks = [answer.clicks for answers in result.answers for answer in answers]
    assert len(set(walks)) == len(walks)
    assert {len(walk) for walk in walks} == {1, 2, 3, 4, 5}
    assert all(walk[0].positive for walk in walks)
    assert wrong_answers(Painter(), IMAGES, [result]) == []


def test_all_click_on_one_image_if_it_is_shared() -> None:
    server = Painter()
    run_scenario(server, IMAGES, scenario(shared=True))
    assert server.opened == {"a"}


def test_the_same_seed_makes_the_same_clicks() -> None:
    def clicks(seed: int) -> list[tuple[Click, ...]]:
        return [a.clicks for a in run_scenario(Painter(), IMAGES, scenario(clients=1, most=9, seed=seed)).answers[0]]

    assert clicks(1) == clicks(1) != clicks(2)


def test_one_wrong_bit_is_found() -> None:
    def spoil(probability: np.ndarray, clicks: tuple[Click, ...]) -> None:
        if len(clicks) == 2:
            probability[0, 0] = 1 - (probability[0, 0] > 0.5)

    result = run_scenario(Painter(spoil), IMAGES, scenario(clients=2, most=30))
    third = [answer for answers in result.answers for answer in answers if len(answer.clicks) == 3]
    wrong = wrong_answers(Painter(), IMAGES, [result])
    assert third
    assert set(third) <= set(wrong)
    assert all(len(answer.clicks) >= 3 for answer in wrong)


def test_failures_are_kept_and_end_too() -> None:
    def refuse(_: np.ndarray, clicks: tuple[Click, ...]) -> None:
        raise ServerError("answered 500")

    result = run_scenario(Painter(refuse), IMAGES, scenario(most=10))
    assert result.clicks == 0
    assert set(result.failures) == {"answered 500"}
    assert 10 <= len(result.failures) < 10 + 4


def test_it_ends_in_time_and_asks_beside() -> None:
    asked: list[float] = []
    result = run_scenario(Painter(), IMAGES, scenario(seconds=0.6, most=None), probe=lambda: asked.append(1))
    assert result.seconds >= 0.6
    assert len(result.probes) == len(asked) >= 2


def test_digests_tell_masks_apart() -> None:
    mask = np.zeros((3, 5), bool)
    assert mask_digest(mask) == mask_digest(mask.copy()) != mask_digest(mask.T)
    other = mask.copy()
    other[2, 4] = True
    assert mask_digest(other) != mask_digest(mask)


@pytest.mark.parametrize("wrong", [{"clients": 0}, {"seconds": 0}, {"walk": 0}])
def test_wrong_options_are_named(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        scenario(**wrong)
    with pytest.raises(InputError, match="no image"):
        run_scenario(Painter(), {}, scenario())


def test_the_report_holds_what_was_measured(tmp_path: Path) -> None:
    result = run_scenario(Painter(), IMAGES, scenario(shared=True), probe=lambda: None)
    figures = ScenarioFigures.of(result, wrong=3)
    assert (figures.clients, figures.images, figures.clicks, figures.wrong) == (4, "the same", result.clicks, 3)
    memory = MemoryCurve((0, 100, 200, 300, 400, 500), (500.0, 600.0, 650.0, 650.0, 660.0, 670.0))
    assert memory.slope == 100.0
    page = write_load_report([figures], memory, {"server": "x"}, tmp_path)
    assert page == (tmp_path / "load.md").read_text()
    assert f"| 4 | the same | {result.clicks} | 3 | 0 |" in page
    assert "500 MB before, 670 MB after, at most 670 MB; over the second half +100.0 MB per 1000 clicks" in page
    content = json.loads((tmp_path / "load.json").read_text())
    assert content["scenarios"][0]["click"]["p50"] == figures.click.p50
    assert content["memory"]["megabytes_per_1000_clicks"] == 100.0


def test_percentiles_by_hand() -> None:
    assert Latency.of([0.1 * number for number in range(11)]) == Latency(0.5, 0.9, 0.99, 1.0)
    assert Latency.of([]).p50 is None
    assert MemoryCurve((0, 10), (1.0, 2.0)).slope is None
