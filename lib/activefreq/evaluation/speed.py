"""How long a click takes: the network, the policy that chooses it, and the machine's own arithmetic for scale."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from activefreq.acselect.policies import make_policy
from activefreq.acselect.regions import mislabeled_regions
from activefreq.acselect.scores import measure_regions
from activefreq.clicks import Click
from activefreq.models.config import SessionConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.session.state import PreparedImage, SessionState, prepare_image
from activefreq.session.step import step


@dataclass(frozen=True)
class Times:
    """Milliseconds.

    Attributes:
        median: Of all rounds.
        low, high: The quartiles.
        least: The shortest round: what other work on the machine disturbed least.
        processor: Median time that the process had a processor, of all its threads together. It leaves out the waiting
            for other work, though not what that work does to shared caches.
    """

    median: float
    low: float
    high: float
    least: float
    processor: float


@dataclass(frozen=True, eq=False)
class Rounds:
    """(rounds,) seconds each: by the clock, and of the processor."""

    clock: np.ndarray
    processor: np.ndarray

    @property
    def times(self) -> Times:
        low, median, high = (float(value) * 1000 for value in np.percentile(self.clock, (25, 50, 75)))
        return Times(median, low, high, float(self.clock.min()) * 1000, float(np.median(self.processor)) * 1000)

    def quotient(self, other: Rounds) -> float:
        """Median over rounds of this one's time by the clock, divided by another's in the same round."""
        return float(np.median(self.clock / other.clock))

    def processor_quotient(self, other: Rounds) -> float:
        """The same of processor time."""
        return float(np.median(self.processor / other.processor))


def click_scene(side: int, seed: int = 0) -> tuple[PreparedImage, SessionState, Click]:
    """A click in the middle of a session: an image of `side` squared, the mask so far, and a click beside it.

    The mask is not empty, so that the click has a target crop of its own, which is smaller than the image.
    """
    rng = np.random.default_rng(seed)
    image = prepare_image(rng.integers(0, 256, (side, side, 3), np.uint8))
    mask = np.zeros((side, side), np.float32)
    mask[side // 4 : side * 3 // 4, side // 4 : side * 3 // 4] = 1.0
    state = SessionState((Click(side // 2, side // 2),), mask, progressive=False)
    return image, state, Click(side // 2, side * 3 // 4 + side // 32)


def click_seconds(
    models: Mapping[str, InteractiveModel],
    side: int,
    *,
    rounds: int,
    warmup: int = 3,
    config: SessionConfig = SessionConfig(),
) -> dict[str, Rounds]:
    """Times a whole click (crops, coarse pass, refine pass, merge) of each network, the image set already.

    The networks take turns, so that whatever else the machine does meets all of them alike: the quotient of two
    networks' times in the same round is worth more than either.

    Args:
        models: Prepared for inference, or as they are; on any device.
        side: Of the image, in pixels.
        rounds: Clicks measured of each.
        warmup: Clicks before that, of each.

    Returns:
        The rounds of each network; the n-th of all were measured one after the other.
    """
    request = click_scene(side)
    return _in_turn({name: partial(step, model, [request], config) for name, model in models.items()}, rounds, warmup)


def policy_seconds(names: tuple[str, ...], side: int, regions: int, *, rounds: int) -> dict[str, Rounds]:
    """Times the choice of a click by policies on an image with made-up errors, in turn."""
    probability, prediction, target = error_scene(side, regions)
    arguments = (probability, prediction, target, np.zeros_like(target))
    return _in_turn({name: partial(make_policy(name).next_click, *arguments) for name in names}, rounds, 1)


def measuring_seconds(side: int, regions: int, *, rounds: int) -> Rounds:
    """Times the labelling and scoring of all regions of an error map."""
    probability, prediction, target = error_scene(side, regions)

    def measure() -> None:
        measure_regions(probability, mislabeled_regions(prediction, target))

    return _in_turn({"measure": measure}, rounds, 1)["measure"]


def error_scene(side: int, regions: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A square object with at least `regions` mislabeled regions of some pixels each.

    Returns:
        probability (H, W) float64, prediction and target (H, W) bool.
    """
    rng = np.random.default_rng(seed)
    target = np.zeros((side, side), bool)
    target[side // 4 : -side // 4, side // 4 : -side // 4] = True
    prediction = target.copy()
    while len(mislabeled_regions(prediction, target)) < regions:
        for y, x in rng.integers(0, side - 4, (max(regions // 5, 1), 2)):
            prediction[y : y + 3, x : x + 3] ^= True
    return np.where(prediction, 0.8, 0.2) + rng.uniform(-0.1, 0.1, prediction.shape), prediction, target


def matmul_gflops(dtype: torch.dtype, *, device: torch.device = torch.device("cpu"), side: int = 2048) -> float:
    """Billions of operations a second in a product of two square matrices; the median of nine."""
    one = torch.rand(side, side, device=device).to(dtype)

    def multiply() -> None:
        torch.mm(one, one)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return 2 * side**3 / float(np.median(_in_turn({"mm": multiply}, 9, 2)["mm"].clock)) / 1e9


def _in_turn(calls: Mapping[str, Callable[[], object]], rounds: int, warmup: int) -> dict[str, Rounds]:
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for number in range(warmup + rounds):
        for name, call in calls.items():
            clock, processor = time.perf_counter(), time.process_time()
            call()
            if number >= warmup:
                seconds[name].append((time.perf_counter() - clock, time.process_time() - processor))
    return {name: Rounds(*np.array(values).T) for name, values in seconds.items()}
