"""The course of a simulation: train, test, choose, label, and train again from the same start."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from activefreq.acselect.coverage import Coverage
from activefreq.acselect.strategies import STRATEGIES, Pool
from activefreq.acselect.turns import due_numbers
from activefreq.data.samples import Sample
from activefreq.errors import InputError
from activefreq.simulation.config import SimulationConfig
from activefreq.simulation.journal import RoundJournal, RoundResult
from activefreq.simulation.trainee import Learner, Outlook, Trainee


@dataclass(frozen=True)
class Course:
    """What is simulated.

    Attributes:
        strategies: Names in `STRATEGIES`.
        rounds: How often a strategy chooses.
        seeds: Every strategy goes its way once for each.
    """

    strategies: tuple[str, ...]
    rounds: int
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in self.strategies:
            if name not in STRATEGIES:
                raise InputError(f"strategy must be one of {', '.join(STRATEGIES)}, not {name!r}")
        if not self.strategies or len(set(self.strategies)) < len(self.strategies):
            raise InputError(f"one or more different strategies are needed, not {', '.join(self.strategies) or 'none'}")
        if self.rounds < 1 or not self.seeds:
            raise InputError(f"at least 1 round and 1 seed are needed, not {self.rounds} and {len(self.seeds)}")


def simulate(
    course: Course,
    learner: Learner,
    pool: Sequence[Sample],
    test: Sequence[Sample],
    config: SimulationConfig,
    folder: Path,
    *,
    listener: Callable[[RoundResult], None] | None = None,
) -> list[RoundResult]:
    """Lets every strategy choose from the pool; rounds that a journal in `folder` has are not done again.

    The results depend on nothing but the arguments: not on interruptions, nor on what other strategies there are.

    Args:
        course: See `Course`.
        learner: Makes the models; what it begins with must not have been trained on these images.
        pool: Images that can be labelled; names are unique.
        test: Images that never are, of other patients.
        config: See `SimulationConfig`.
        folder: For the journal; exists.
        listener: Told of every round that was done now.

    Returns:
        All rounds, by seed, strategy and round.

    Raises:
        InputError: The pool is too small, or there is no image to test on.
    """
    needed = config.labelled(course.rounds)
    if len(pool) < needed:
        raise InputError(f"{needed} images would be labelled, but the pool has {len(pool)}")
    if not test:
        raise InputError("there is no image to test on")
    journal = RoundJournal(folder / "rounds.jsonl")
    done = journal.read()
    # Strategies go round by round side by side: they share the first model.
    for seed in course.seeds:
        trainees = _Trainees(learner, pool, config, seed=seed)
        for round_ in range(course.rounds + 1):
            for strategy in course.strategies:
                known = done.get((seed, strategy, round_))
                # The last round of a shorter course chose nothing: it is done again.
                if known is not None and (known.chosen or round_ == course.rounds):
                    continue
                before = done[seed, strategy, round_ - 1] if round_ else None
                result = _run_round(course, strategy, round_, before, trainees, test, config)
                journal.append(result)
                done[result.key] = result
                if listener is not None:
                    listener(result)
    return [
        done[seed, strategy, round_]
        for seed in course.seeds
        for strategy in course.strategies
        for round_ in range(course.rounds + 1)
    ]


def choose(strategy: str, waiting: Outlook, seen: np.ndarray, count: int, *, seed: int, round_: int) -> list[int]:
    """Indices of the images that the app would serve next, one after the other, to someone who labels each.

    Args:
        strategy: A name in `STRATEGIES`.
        waiting: Of the images that wait.
        seen: (M, D), embeddings of those with a label.
        count: How many.
        seed, round_: The choice is a function of these, the strategy and what the model says of the images.
    """
    generator = np.random.default_rng([seed, zlib.crc32(strategy.encode()), round_])
    coverage = Coverage(waiting.embeddings)
    coverage.see(seen)
    left = np.arange(len(waiting.scores))
    chosen: list[int] = []
    while len(chosen) < count:
        pool = Pool([waiting.scores[index] for index in left], coverage.gains()[left])
        due = due_numbers(STRATEGIES[strategy](pool, generator), np.zeros(len(left)))
        chosen.append(int(left[np.argmin(due)]))
        coverage.see(waiting.embeddings[chosen[-1:]])
        left = left[left != chosen[-1]]
    return chosen


@dataclass(frozen=True)
class _Trained:
    """A model, what it was trained on, its test, the images that wait, and what it says of these and of the others."""

    labelled: frozenset[str]
    trainee: Trainee
    figures: dict[str, float]
    waiting: Sequence[Sample]
    outlook: Outlook
    seen: np.ndarray


class _Trainees:
    """Models by what they were trained on; remembers the last one, with its test.

    Args:
        learner, pool, config: As of `simulate`.
        seed: Of the trainings.
    """

    def __init__(self, learner: Learner, pool: Sequence[Sample], config: SimulationConfig, *, seed: int) -> None:
        self.seed = seed
        self._learner = learner
        self._pool = {sample.name: sample for sample in pool}
        self._config = config
        self._last: _Trained | None = None
        self._initial_clicks: int | None = None

    def initial(self) -> tuple[str, ...]:
        """The images that are labelled at first."""
        names = sorted(self._pool)
        drawn = np.random.default_rng([self.seed, 0x1417]).permutation(len(names))[: self._config.initial]
        return tuple(names[index] for index in np.sort(drawn))

    def initial_clicks(self) -> int:
        """What those cost."""
        if self._initial_clicks is None:
            samples = [self._pool[name] for name in self.initial()]
            self._initial_clicks = sum(self._learner.beginner().annotation_clicks(samples))
        return self._initial_clicks

    def of(self, labelled: Sequence[str], test: Sequence[Sample]) -> _Trained:
        names = frozenset(labelled)
        if self._last is None or self._last.labelled != names:
            samples = [self._pool[name] for name in sorted(names)]
            trainee = self._learner.train(samples, self.seed)
            waiting = [sample for sample in self._pool.values() if sample.name not in names]
            figures = trainee.test(test)
            seen = trainee.look_at(samples).embeddings
            self._last = _Trained(names, trainee, figures, waiting, trainee.look_at(waiting), seen)
        return self._last


def _run_round(
    course: Course,
    strategy: str,
    round_: int,
    before: RoundResult | None,
    trainees: _Trainees,
    test: Sequence[Sample],
    config: SimulationConfig,
) -> RoundResult:
    if before is None:
        labelled, clicks = trainees.initial(), trainees.initial_clicks()
    else:
        labelled, clicks = before.labelled + before.chosen, before.clicks + before.chosen_clicks
    trained = trainees.of(labelled, test)
    chosen: list[Sample] = []
    if round_ < course.rounds:
        places = choose(strategy, trained.outlook, trained.seen, config.per_round, seed=trainees.seed, round_=round_)
        chosen = [trained.waiting[place] for place in places]
    return RoundResult(
        seed=trainees.seed,
        strategy=strategy,
        round=round_,
        labelled=labelled,
        clicks=clicks,
        figures=trained.figures,
        chosen=tuple(sample.name for sample in chosen),
        chosen_clicks=sum(trained.trainee.annotation_clicks(chosen)),
    )
