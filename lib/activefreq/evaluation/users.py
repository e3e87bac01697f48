"""How people click, as opposed to how a robot does.

The robots of the field always hit the middle of the largest error; people click off-centre, disagree with the
reference at borders, attend to smaller errors and sometimes slip (source: arXiv 2404.01816).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from activefreq.acselect.placement import place_click
from activefreq.acselect.policies import Policy, Trial
from activefreq.acselect.regions import Regions, mislabeled_regions
from activefreq.clicks import Click
from activefreq.data.borders import moved_border
from activefreq.errors import InputError

USERS = ("ideal", "human")


@dataclass(frozen=True, kw_only=True)
class HumanConfig:
    """How far a person departs from the ideal.

    Attributes:
        jitter: Standard deviation of a click's offset along each axis, as a share of the region's equivalent
            radius sqrt(area / pi). A click stays inside its region.
        smaller: Share of clicks that go to another region than the policy's, each other region with a chance
            in proportion to its area.
        slip: Share of clicks with the wrong sign.
        border: Standard deviation of where the person sees the object's border, as a share of the object's
            equivalent radius. The person works towards what they see, and is judged by the reference.
    """

    jitter: float = 0.3
    smaller: float = 0.15
    slip: float = 0.02
    border: float = 0.02

    def __post_init__(self) -> None:
        for name in ("jitter", "border"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and 0 <= value < np.inf):
                raise InputError(f"human {name} must be a number of at least 0, not {value!r}")
        for name in ("smaller", "slip"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and 0 <= value <= 1):
                raise InputError(f"human {name} must be a share from 0 to 1, not {value!r}")


class HumanUser:
    """A person who follows a policy on one image, imperfectly. Is itself a `Policy`; make one per image."""

    def __init__(self, policy: Policy, *, seed: int | Sequence[int], config: HumanConfig = HumanConfig()) -> None:
        self._policy = policy
        self._config = config
        self._generator = np.random.default_rng(seed)
        self._seen: np.ndarray | None = None

    def next_click(
        self,
        probability: np.ndarray,
        prediction: np.ndarray,
        target: np.ndarray,
        clicked: np.ndarray,
        *,
        trial: Trial | None = None,
    ) -> Click | None:
        if self._seen is None:
            self._seen = moved_border(target, self._config.border, self._generator)
        click = self._policy.next_click(probability, prediction, self._seen, clicked, trial=trial)
        if click is None:
            return None
        regions = mislabeled_regions(prediction, self._seen)
        number = int(regions.labels[click.y, click.x]) - 1
        if self._generator.random() < self._config.smaller:
            number = self._other_region(regions, number, clicked)
            click = place_click(regions, number, probability, clicked)
        click = self._off_centre(regions, number, click, clicked)
        if self._generator.random() < self._config.slip:
            return Click(click.y, click.x, positive=not click.positive)
        return click

    def _other_region(self, regions: Regions, number: int, clicked: np.ndarray) -> int:
        chances = np.where(regions.clickable(clicked), regions.areas, 0).astype(np.float64)
        chances[number] = 0.0
        if not chances.any():
            return number
        return int(self._generator.choice(len(regions), p=chances / chances.sum()))

    def _off_centre(self, regions: Regions, number: int, click: Click, clicked: np.ndarray) -> Click:
        deviation = self._config.jitter * np.sqrt(regions.areas[number] / np.pi)
        offsets = np.rint(self._generator.normal(0.0, deviation, (32, 2))).astype(int)
        height, width = clicked.shape
        for y, x in offsets + np.array((click.y, click.x)):
            inside = 0 <= y < height and 0 <= x < width
            if inside and regions.labels[y, x] == number + 1 and not clicked[y, x]:
                return Click(int(y), int(x), click.positive)
        return click
