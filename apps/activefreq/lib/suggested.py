"""Suggestions in the coordinates of the clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from activefreq.acselect.suggestions import Suggestion, SuggestionConfig, suggest_regions
from activefreq.session.state import THRESHOLD, SessionState


@dataclass(frozen=True, eq=False)
class SliceSuggestions:
    """Suggestions, best first, on slice k of an image whose slices are `shape` = (rows, columns)."""

    k: int
    shape: tuple[int, int]
    items: tuple[Suggestion, ...]

    def described(self) -> list[dict[str, Any]]:
        """JSON-like; points are [i, j, k], a box is [i, j, i, j] with the last two exclusive."""
        return [
            {
                "rank": rank,
                "click": [one.click.x, one.click.y, self.k],
                "positive": one.click.positive,
                "score": round(one.score, 4),
                "chance": round(one.chance, 4),
                "mpe": round(one.mpe, 4),
                "ape": round(one.ape, 4),
                "rgu": round(1.0 - one.deviation, 4),
                "pixels": one.area,
                "confirmed": one.confirmed,
                "box": [one.box[1], one.box[0], one.box[3], one.box[2]],
            }
            for rank, one in enumerate(self.items, start=1)
        ]

    def label_map(self) -> np.ndarray:
        """(rows, columns) uint8: 1 where a positive click is suggested, 2 where a negative one is."""
        labels = np.zeros(self.shape, np.uint8)
        for one in self.items:
            top, left, bottom, right = one.box
            labels[top:bottom, left:right][one.mask] = 1 if one.click.positive else 2
        return labels


def suggest_slice(state: SessionState, k: int) -> SliceSuggestions:
    """What to look at next on a slice with clicks."""
    clicked = np.zeros(state.mask.shape, bool)
    for click in state.clicks:
        clicked[click.y, click.x] = True
    items = suggest_regions(state.probability, mask=state.mask, clicked=clicked)
    return SliceSuggestions(k, state.mask.shape, tuple(items))


def suggest_beginning(probability: np.ndarray, k: int) -> SliceSuggestions:
    """Where to begin on a slice without clicks: nothing is marked yet, so all that the model sees is to be added.

    Args:
        probability: (rows, columns), the model's answer to no click.
    """
    # 0.5 is no doubt but a label; just above it is what a mask would hold.
    config = SuggestionConfig(least_chance=THRESHOLD, placement="interior")
    items = suggest_regions(probability, mask=np.zeros(probability.shape, bool), config=config)
    return SliceSuggestions(k, (probability.shape[0], probability.shape[1]), tuple(items))
