"""Many clients who click at once: what a server answers them, how fast, and whether every mask is right."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from activefreq.clicks import Click
from activefreq.errors import ActiveFreqError, InputError
from activefreq.evaluation.backends import Backend

PROBE_SECONDS = 0.25
"""Between two questions that are no clicks."""


@dataclass(frozen=True, kw_only=True)
class LoadScenario:
    """Clients who each click at random places of an image, a click after the answer to the one before.

    Attributes:
        clients: How many at once.
        shared: All click on the first image; else each begins with another one.
        seconds: For so long; the clicks under way are finished.
        most: Ends after about so many clicks of all together; None for no such end.
        walk: Clicks on an image before a client begins anew, with the next image unless it is shared.
        seed: Another seed is other clicks; clients of one scenario never repeat each other's.
    """

    clients: int
    shared: bool = False
    seconds: float = 60.0
    most: int | None = None
    walk: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("clients", "seconds", "walk"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, not {getattr(self, name)}")


@dataclass(frozen=True)
class AnsweredClick:
    """An answer to the last of the clicks: the mask's digest (`mask_digest`), and how long it took."""

    image: str
    clicks: tuple[Click, ...]
    digest: str
    seconds: float


@dataclass(frozen=True)
class LoadResult:
    """What happened in a scenario.

    Attributes:
        answers: Of each client, in its order.
        failures: What was said in place of an answer.
        probes: Seconds that each question beside the clicks took.
        seconds: From the first click to the last answer.
    """

    scenario: LoadScenario
    answers: tuple[tuple[AnsweredClick, ...], ...]
    failures: tuple[str, ...]
    probes: tuple[float, ...]
    seconds: float

    @property
    def clicks(self) -> int:
        """Answered clicks."""
        return sum(len(answers) for answers in self.answers)


def mask_digest(mask: np.ndarray) -> str:
    """SHA-256 of a (H, W) bool mask: equal for equal masks, down to the last bit."""
    return hashlib.sha256(f"{mask.shape}".encode() + np.packbits(mask).tobytes()).hexdigest()


def run_scenario(
    backend: Backend,
    images: Mapping[str, np.ndarray],
    scenario: LoadScenario,
    *,
    probe: Callable[[], object] | None = None,
) -> LoadResult:
    """Lets clients click.

    Args:
        backend: Answers; is asked by all clients at once.
        images: (H, W) or (H, W, 3) by the name under which the backend opens them (a slice is "ID#k=K").
        scenario: What the clients do.
        probe: A question that is asked all the while beside the clicks.

    Raises:
        ActiveFreqError: The probe failed. What a click fails with is kept in the result.
    """
    if not images:
        raise InputError("there is no image to click on")
    end = threading.Event()
    clicked = _Counter()
    start = time.monotonic()

    def over() -> bool:
        late = time.monotonic() - start >= scenario.seconds
        return end.is_set() or late or (scenario.most is not None and clicked.value >= scenario.most)

    with ThreadPoolExecutor(scenario.clients + 1) as pool:
        probing = pool.submit(_probe, probe, end)
        clients = [
            pool.submit(_click, backend, images, scenario, client, clicked, over) for client in range(scenario.clients)
        ]
        try:
            found = [client.result() for client in clients]
        finally:
            end.set()
        seconds = time.monotonic() - start
    return LoadResult(
        scenario=scenario,
        answers=tuple(tuple(answers) for answers, _ in found),
        failures=tuple(failure for _, failures in found for failure in failures),
        probes=tuple(probing.result()),
        seconds=seconds,
    )


def wrong_answers(
    reference: Backend,
    images: Mapping[str, np.ndarray],
    results: Sequence[LoadResult],
    *,
    listener: Callable[[], object] = lambda: None,
) -> list[AnsweredClick]:
    """The answers whose mask is not, bit for bit, what the reference answers to the same clicks, one after the other.

    Args:
        reference: Usually the same checkpoint in this process.
        listener: Told after every answer that was compared.
    """
    wrong = []
    for answers in (answers for result in results for answers in result.answers):
        image, name, state = None, "", None
        for answer in answers:
            if state is None or (name, state.clicks) != (answer.image, answer.clicks[:-1]):
                name, image = answer.image, reference.open(answer.image, images[answer.image])
                state = reference.start(image, automatic=False)
            for click in answer.clicks[len(state.clicks) :]:
                (state,) = reference.answer([(image, state, click)])
            if mask_digest(state.mask) != answer.digest:
                wrong.append(answer)
            listener()
    return wrong


class _Counter:
    """Counts what several threads do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0

    def add(self) -> None:
        with self._lock:
            self.value += 1


def _click(
    backend: Backend,
    images: Mapping[str, np.ndarray],
    scenario: LoadScenario,
    client: int,
    clicked: _Counter,
    over: Callable[[], bool],
) -> tuple[list[AnsweredClick], list[str]]:
    """One client's answers and failures."""
    generator = np.random.default_rng([scenario.seed, client])
    names = list(images)
    answers: list[AnsweredClick] = []
    failures: list[str] = []
    walk = 0
    while not over():
        name = names[0 if scenario.shared else (client + walk) % len(names)]
        walk += 1
        try:
            image = backend.open(name, images[name])
            state = backend.start(image, automatic=False)
            for number in range(scenario.walk):
                if over():
                    break
                y, x = (int(generator.integers(size)) for size in images[name].shape[:2])
                click = Click(y, x, positive=number == 0 or bool(generator.random() < 0.5))
                begun = time.monotonic()
                (state,) = backend.answer([(image, state, click)])
                took = time.monotonic() - begun
                answers.append(AnsweredClick(name, state.clicks, mask_digest(state.mask), took))
                clicked.add()
        except ActiveFreqError as error:
            failures.append(str(error))
            # Counts, too: a server that refuses everything is not asked for ever.
            clicked.add()
    return answers, failures


def _probe(probe: Callable[[], object] | None, end: threading.Event) -> list[float]:
    """Seconds that each question took."""
    took: list[float] = []
    while probe is not None and not end.is_set():
        begun = time.monotonic()
        probe()
        took.append(time.monotonic() - begun)
        end.wait(PROBE_SECONDS)
    return took
