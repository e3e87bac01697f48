"""Training batches as a pure function of (seed, step): resuming needs no random state, and neither do workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from activefreq.session.state import prepare_image
from activefreq.training.augmentation import View, random_view
from activefreq.training.config import TrainingConfig
from activefreq.training.structures import another_structure


class Pair(Protocol):
    """What is trained on: an image as the session takes it, and its target (H, W) bool."""

    @property
    def image(self) -> np.ndarray: ...

    @property
    def target(self) -> np.ndarray: ...


class PairSource(Protocol):
    """A sequence of pairs, such as a list or a `data.samples.SampleSource`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Pair: ...


@dataclass(frozen=True)
class Batch:
    """The views of one step and the seed of everything random that is done with them."""

    step: int
    views: tuple[View, ...]
    seeds: tuple[tuple[int, int, int], ...]


class Mixture:
    """Several data sets in fixed proportions: an epoch sees each as often as its weight says.

    Args:
        sources: Sequences of pairs.
        weights: Relative share of each source in an epoch; None for as much as it has pairs. An epoch is as long as
            all sources together; one whose share of that is less than a pair has one.

    Attributes:
        sources: As given.
        shares: Share of each source, summing to 1.
        length: Pairs in an epoch.
        counts: Pairs of each source in an epoch.
    """

    def __init__(self, sources: Sequence[PairSource], weights: Sequence[float] | None = None) -> None:
        if not sources or not all(len(source) for source in sources):
            raise ValueError("a mixture needs sources with at least one pair each")
        shares = np.array([len(source) for source in sources] if weights is None else weights, float)
        if len(shares) != len(sources) or (shares <= 0).any():
            raise ValueError("a mixture needs one positive weight for each source")
        self.sources = tuple(sources)
        self.shares = tuple(float(share) for share in shares / shares.sum())
        bounds = np.rint(np.cumsum(self.shares) * sum(len(source) for source in sources)).astype(int)
        self.counts = tuple(max(int(count), 1) for count in np.diff(bounds, prepend=0))
        self.length = sum(self.counts)

    def order(self, seed: int, epoch: int) -> list[tuple[int, int]]:
        """The (source, index) pairs of an epoch, shuffled; within a source none comes twice before all came once."""
        rng = np.random.default_rng([seed, 0x0DDE, epoch])
        picked: list[tuple[int, int]] = []
        for number, (source, count) in enumerate(zip(self.sources, self.counts, strict=True)):
            rounds = -(-count // len(source))
            indices = np.concatenate([rng.permutation(len(source)) for _ in range(rounds)])[:count] if count else []
            picked += [(number, int(index)) for index in indices]
        return [picked[index] for index in rng.permutation(len(picked))]

    def at(self, seed: int, positions: Sequence[int]) -> list[Pair]:
        """The pairs at positions of the endless stream of shuffled epochs."""
        orders = {epoch: self.order(seed, epoch) for epoch in {position // self.length for position in positions}}
        pairs = []
        for position in positions:
            source, index = orders[position // self.length][position % self.length]
            pairs.append(self.sources[source][index])
        return pairs


def make_batch(mixture: Mixture, config: TrainingConfig, step: int, *, rank: int = 0, world: int = 1) -> Batch:
    """The views of one process in one step: every `world`-th of the global batch, from `rank` on."""
    first = step * config.batch_size
    positions = range(first + rank, first + config.batch_size, world)
    size = config.size_at(step)
    views, seeds = [], []
    for position, pair in zip(positions, mixture.at(config.seed, positions), strict=True):
        rng = np.random.default_rng([config.seed, 0xA06, position])
        view = random_view(_as_clicked(pair), pair.target, size, rng, config.augmentation)
        image, target = another_structure(view.image, view.target, rng, config.structures)
        views.append(replace(view, image=image, target=target))
        seeds.append((config.seed, 0xC11C, position))
    return Batch(step, tuple(views), tuple(seeds))


def _as_clicked(pair: Pair) -> np.ndarray:
    """The image as a session sees it after a click on the object."""
    image = prepare_image(pair.image)
    return image.rgb if image.hounsfield is None else image.at(float(np.median(image.hounsfield[pair.target])))


def batches(mixture: Mixture, config: TrainingConfig, *, start: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
    """The batches from step `start` on, prepared ahead by threads."""
    steps = range(start, config.steps)
    if config.workers <= 0:
        for step in steps:
            yield make_batch(mixture, config, step, rank=rank, world=world)
        return
    with ThreadPoolExecutor(config.workers) as pool:
        ahead = [
            pool.submit(make_batch, mixture, config, step, rank=rank, world=world)
            for step in steps[: config.workers + 1]
        ]
        for step in steps:
            following = step + config.workers + 1
            batch = ahead.pop(0).result()
            if following < config.steps:
                ahead.append(pool.submit(make_batch, mixture, config, following, rank=rank, world=world))
            yield batch
