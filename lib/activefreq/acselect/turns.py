"""Whose turn it is: which of the waiting images is suggested to whom.

Every image has a due number, and the least one is next. It is the turn (number of the suggestion) at which the image
came, plus a wait that is the shorter the higher its score. So an image is overtaken only by images that came at most
`PATIENCE` turns later, whatever their scores: none is starved. One that was served and not labelled goes behind
everything that waits by then, and does not come back at once.
"""

from __future__ import annotations

import numpy as np

from activefreq.errors import InputError

PATIENCE = 1000
"""Turns that the image with the lowest score waits longer than the one with the highest."""


def due_numbers(scores: np.ndarray, arrivals: np.ndarray, *, patience: float = PATIENCE) -> np.ndarray:
    """The due number of every waiting image; the least is next, of equal ones the first.

    Scores count by their rank alone, so that any unit will do. Images without a score rank in the middle.

    Args:
        scores: (N,), the higher the sooner; NaN where there is none yet.
        arrivals: (N,), the turn at which each image came, or that of an image that was put back (`behind`).
        patience: See `PATIENCE`; above 0.

    Raises:
        InputError: The arrays differ in length, or the patience is not above 0.
    """
    scores, arrivals = np.asarray(scores, np.float64), np.asarray(arrivals, np.float64)
    if scores.ndim != 1 or scores.shape != arrivals.shape:
        raise InputError(f"one score and one arrival for each image are needed, not {scores.shape}, {arrivals.shape}")
    if not patience > 0:
        raise InputError(f"the patience must be above 0, not {patience!r}")
    waits = np.full(len(scores), 0.5)
    known = ~np.isnan(scores)
    # Equal scores share a rank: then the first of the images is next.
    values, ranks = np.unique(scores[known], return_inverse=True)
    waits[known] = 1.0 - ranks / max(len(values) - 1, 1) if len(values) > 1 else 0.5
    return arrivals + patience * waits


def behind(arrivals: np.ndarray, *, patience: float = PATIENCE) -> float:
    """The arrival of an image that is put back behind others, whatever the scores, now or later.

    Some strategies draw them anew each time, so that nothing can be said of later due numbers but their range.

    Args:
        arrivals: (N,), of the others.
        patience: As of `due_numbers`.
    """
    return float(np.max(arrivals, initial=0.0)) + patience + 1.0
