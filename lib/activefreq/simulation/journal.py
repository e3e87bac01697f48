"""What happened in each round, kept on disk the moment that it is finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from activefreq.files.json_lines import append_line, read_lines

RoundKey = tuple[int, str, int]
"""(seed, strategy, round)."""


@dataclass(frozen=True)
class RoundResult:
    """One round: a training on what was labelled by then, its test, and what the strategy chose next.

    Attributes:
        seed: Of everything random.
        strategy: Its name.
        round: From 0, the training on the images drawn at random.
        labelled: Names of the images that were trained on.
        clicks: That the annotator needed for them, each with the model of the round before (the first ones with the
            start).
        figures: See `Trainee.test`.
        chosen: Names of the images that the strategy chose after the training; none in the last round.
        chosen_clicks: That the annotator needs for those.
    """

    seed: int
    strategy: str
    round: int
    labelled: tuple[str, ...]
    clicks: int
    figures: Mapping[str, float]
    chosen: tuple[str, ...]
    chosen_clicks: int

    @property
    def key(self) -> RoundKey:
        return self.seed, self.strategy, self.round


class RoundJournal:
    """A file of JSON lines. A line that a crash cut off, or that has other fields, is passed over: the round is then
    done again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, result: RoundResult) -> None:
        append_line(self._path, asdict(result))

    def read(self) -> dict[RoundKey, RoundResult]:
        found = {}
        for values in read_lines(self._path) if self._path.exists() else ():
            try:
                values |= {name: tuple(values[name]) for name in ("labelled", "chosen")}
                result = RoundResult(**values)
            except (KeyError, TypeError):
                continue
            found[result.key] = result
        return found
