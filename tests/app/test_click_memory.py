from __future__ import annotations

from types import SimpleNamespace

from activefreq.session.cache import ENTRY_BYTES
from activefreq.session.state import SessionState
from lib.click_memory import ClickMemory

IMAGE = SimpleNamespace(key="image")


def states(side: int) -> dict[int, SessionState]:
    return {3: SessionState.start((side, side))}


def test_each_clients_last_clicks_are_remembered() -> None:
    memory = ClickMemory(1 << 20)
    one, other = states(8), states(9)
    memory.put(IMAGE, "one", one)
    memory.put(IMAGE, "", other)
    assert memory.get(IMAGE, "one") is one
    assert memory.get(IMAGE, "") is other
    assert memory.get(IMAGE, "nobody") == {}


def test_what_has_no_room_does_not_leave_the_clicks_before_it() -> None:
    memory = ClickMemory(10_000)
    memory.put(IMAGE, "one", states(8))
    memory.put(IMAGE, "one", states(100))
    assert memory.get(IMAGE, "one") == {}


def test_no_clicks_take_no_room_however_many_clients_have_none() -> None:
    memory = ClickMemory(10_000)
    memory.put(IMAGE, "one", states(8))
    memory.put(IMAGE, "one", {})
    assert memory.get(IMAGE, "one") == {}
    for number in range(100):
        memory.put(IMAGE, str(number), {})
    assert len(memory) == 0


def test_many_clients_who_click_on_one_pixel_are_forgotten_in_turn() -> None:
    memory = ClickMemory(10 * ENTRY_BYTES)
    for number in range(100):
        memory.put(IMAGE, str(number), states(1))
    assert len(memory) == 9  # each is a little more than its overhead
    assert memory.get(IMAGE, "99")
    assert memory.get(IMAGE, "0") == {}
