"""What happened in each round, kept on disk the moment that it is finished."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

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
    """A file of JSON lines. A line that a crash cut off is passed over: the round is then done again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, result: RoundResult) -> None:
        # The line break comes first: whatever a crash left of the line before is ended by it.
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write("\n" + json.dumps(asdict(result)))
            stream.flush()
            os.fsync(stream.fileno())

    def read(self) -> dict[RoundKey, RoundResult]:
        found = {}
        for line in self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else ():
            try:
                values = json.loads(line)
            except json.JSONDecodeError:
                continue
            values |= {name: tuple(values[name]) for name in ("labelled", "chosen")}
            result = RoundResult(**values)
            found[result.key] = result
        return found
