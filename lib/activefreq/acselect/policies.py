"""Simulated users: given the truth, who clicks where next (paper section 3.1, Tables 4 and 5).

All policies put the first click of an object, when there is no prediction yet, where the standard clicker
puts it. Ties go to the region with the lowest number (`Regions`). No policy keeps anything between images:
make one per image, with a seed of its own, and results depend on neither order nor batches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from activefreq.acselect.clicker import standard_click
from activefreq.acselect.entropy import least_confidence
from activefreq.acselect.placement import PLACEMENTS, place_click
from activefreq.acselect.regions import Regions, mislabeled_regions
from activefreq.acselect.scores import ScoreConfig, measure_regions, region_mean, region_score
from activefreq.clicks import Click
from activefreq.errors import InputError
from activefreq.overlap import intersection_over_union

Trial = Callable[[Sequence[Click]], Sequence[np.ndarray]]
"""Tells for each of some clicks the mask (H, W) bool that would be the answer if it were the next one."""


class Policy(Protocol):
    """Someone who knows the truth and clicks."""

    def next_click(
        self,
        probability: np.ndarray,
        prediction: np.ndarray,
        target: np.ndarray,
        clicked: np.ndarray,
        *,
        trial: Trial | None = None,
    ) -> Click | None:
        """Chooses the next click.

        Args:
            probability: (H, W) foreground probability in [0, 1]; zeros before the first click.
            prediction: (H, W) bool, the mask that the person sees; all False before the first click.
            target: (H, W) bool, the truth.
            clicked: (H, W) bool, True where a click was placed before.
            trial: Answers what clicks would do; only the oracle asks.

        Returns:
            The click, or None when no mislabeled pixel is left that was not clicked.
        """


@dataclass(frozen=True)
class StandardPolicy:
    """The standard clicker (`standard_click`) behind the policy interface."""

    def next_click(
        self,
        probability: np.ndarray,
        prediction: np.ndarray,
        target: np.ndarray,
        clicked: np.ndarray,
        *,
        trial: Trial | None = None,
    ) -> Click | None:
        return standard_click(prediction, target, clicked)


class RegionPolicy:
    """Ranks the mislabeled regions and clicks the best one that has a pixel left to click."""

    connectivity: int = 8

    def rank(self, probability: np.ndarray, regions: Regions) -> np.ndarray:
        """(N,) values, the highest of which wins; N is at least 1."""
        raise NotImplementedError

    def next_click(
        self,
        probability: np.ndarray,
        prediction: np.ndarray,
        target: np.ndarray,
        clicked: np.ndarray,
        *,
        trial: Trial | None = None,
    ) -> Click | None:
        if not prediction.any() and not clicked.any():
            return standard_click(prediction, target, clicked)
        regions = mislabeled_regions(prediction, target, connectivity=self.connectivity)
        clickable = regions.clickable(clicked)
        if not clickable.any():
            return None
        ranks = np.where(clickable, self.rank(probability, regions), -np.inf)
        return self.place(regions, int(np.argmax(ranks)), probability, clicked)

    def place(self, regions: Regions, number: int, probability: np.ndarray, clicked: np.ndarray) -> Click:
        """The click on the region that won."""
        return place_click(regions, number, probability, clicked)


class RandomPolicy(RegionPolicy):
    """A region at random, each as likely as another."""

    def __init__(self, seed: int | Sequence[int] = 0) -> None:
        self._generator = np.random.default_rng(seed)

    def rank(self, probability: np.ndarray, regions: Regions) -> np.ndarray:
        return self._generator.random(len(regions))


class AreaPolicy(RegionPolicy):
    """The region with most pixels."""

    def rank(self, probability: np.ndarray, regions: Regions) -> np.ndarray:
        return regions.areas


class EntropyPolicy(RegionPolicy):
    """The region with the highest mean pixel entropy."""

    def rank(self, probability: np.ndarray, regions: Regions) -> np.ndarray:
        return measure_regions(probability, regions).ape


class LeastConfidencePolicy(RegionPolicy):
    """The region with the highest mean of one minus the probability of the likelier class."""

    def rank(self, probability: np.ndarray, regions: Regions) -> np.ndarray:
        flat, numbers = regions.pixels()
        return region_mean(least_confidence(probability.ravel()[flat]), numbers, regions.areas)


@dataclass(frozen=True, kw_only=True)
class AcSelectConfig(ScoreConfig):
    """Options of AcSelect. The defaults are what measured best (docs/experiments.md), not the paper's formula.

    Attributes:
        connectivity: 8 joins the pixels of a region across corners too, 4 only across edges.
        placement: Where in the region the click goes, see `place_click`.
        reach: Of the placement "gain", at least 0, see `expected_gain`.
        caution: Of the placement "gain", at least 0, see `expected_gain`.
    """

    connectivity: int = 8
    placement: str = "core"
    reach: float = 0.2
    caution: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.connectivity not in (4, 8):
            raise InputError(f"AcSelect connectivity must be 4 or 8, not {self.connectivity!r}")
        if self.placement not in PLACEMENTS:
            raise InputError(f"AcSelect placement must be one of {', '.join(PLACEMENTS)}, not {self.placement!r}")
        for name in ("reach", "caution"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and 0 <= value < np.inf):
                raise InputError(f"AcSelect {name} must be a number of at least 0, not {value!r}")


class AcSelectPolicy(RegionPolicy):
    """The region with the highest region score (eq. 7)."""

    def __init__(self, config: AcSelectConfig | None = None) -> None:
        self.config = config or AcSelectConfig()
        self.connectivity = self.config.connectivity

    def rank(self, probability: np.ndarray, regions: Regions) -> np.ndarray:
        return region_score(measure_regions(probability, regions), self.config)

    def place(self, regions: Regions, number: int, probability: np.ndarray, clicked: np.ndarray) -> Click:
        return place_click(
            regions,
            number,
            probability,
            clicked,
            placement=self.config.placement,
            reach=self.config.reach,
            caution=self.config.caution,
        )


@dataclass(frozen=True)
class OraclePolicy:
    """Tries a click on each of the largest regions and keeps the one whose answer has the best IoU.

    Greedy: the bound for choosing one region at a time, not for a sequence of clicks.

    Attributes:
        candidates: How many regions are tried at most, the largest first; at least 1. Of equal answers the
            larger region wins.
    """

    candidates: int = 8

    def __post_init__(self) -> None:
        if not isinstance(self.candidates, int) or self.candidates < 1:
            raise InputError(f"the oracle needs a whole number of candidates, at least 1, not {self.candidates!r}")

    def next_click(
        self,
        probability: np.ndarray,
        prediction: np.ndarray,
        target: np.ndarray,
        clicked: np.ndarray,
        *,
        trial: Trial | None = None,
    ) -> Click | None:
        if trial is None:
            raise InputError("the oracle must be able to try clicks: it needs a trial")
        if not prediction.any() and not clicked.any():
            return standard_click(prediction, target, clicked)
        regions = mislabeled_regions(prediction, target)
        numbers = np.flatnonzero(regions.clickable(clicked))
        if numbers.size == 0:
            return None
        numbers = numbers[np.argsort(-regions.areas[numbers], kind="stable")][: self.candidates]
        clicks = [place_click(regions, int(number), probability, clicked) for number in numbers]
        if len(clicks) == 1:
            return clicks[0]
        target = np.asarray(target, bool)
        overlaps = [intersection_over_union(mask, target) for mask in trial(clicks)]
        return clicks[int(np.argmax(overlaps))]


POLICIES = ("standard", "random", "area", "entropy", "least-confidence", "acselect", "oracle")
PROBABILITY_POLICIES = ("entropy", "least-confidence", "acselect")
"""Those that look at more than the mask."""


def make_policy(name: str, *, seed: int | Sequence[int] = 0, **options: Any) -> Policy:
    """Makes a policy by its name.

    Args:
        name: One of `POLICIES`.
        seed: For the random policy; give every image a seed of its own, such as (seed, number of the image).
        options: The fields of `AcSelectConfig` for "acselect", of `OraclePolicy` for "oracle"; none for the
            others.

    Raises:
        InputError: The name or an option is unknown, or an option has a wrong value.
    """
    known: dict[str, set[str]] = {
        "acselect": {field.name for field in dataclasses.fields(AcSelectConfig)},
        "oracle": {field.name for field in dataclasses.fields(OraclePolicy)},
    }
    if name not in POLICIES:
        raise InputError(f"policy must be one of {', '.join(POLICIES)}, not {name!r}")
    unknown = sorted(set(options) - known.get(name, set()))
    if unknown:
        raise InputError(f"policy {name} has no option {unknown[0]!r}")
    if name == "acselect":
        return AcSelectPolicy(AcSelectConfig(**options))
    if name == "oracle":
        return OraclePolicy(**options)
    if name == "random":
        return RandomPolicy(seed)
    simple: dict[str, Callable[[], Policy]] = {
        "standard": StandardPolicy,
        "area": AreaPolicy,
        "entropy": EntropyPolicy,
        "least-confidence": LeastConfidencePolicy,
    }
    return simple[name]()
