"""How unsure a model is of each pixel.

Source: paper section 3.1; Shannon entropy in nats, so two classes give at most log 2.
"""

from __future__ import annotations

import numpy as np
from scipy.special import entr

from activefreq.errors import InputError


def binary_entropy(probability: np.ndarray) -> np.ndarray:
    """Entropy of the two classes (1 - p, p) of every pixel.

    Args:
        probability: Foreground probability in [0, 1], any shape.

    Returns:
        float64 array of the same shape, in nats, from 0 (certain) to log 2 (p = 0.5).

    Raises:
        InputError: A probability is NaN or outside [0, 1].
    """
    p = _checked(probability)
    return entr(p) + entr(1.0 - p)


def categorical_entropy(probabilities: np.ndarray, *, axis: int = 0) -> np.ndarray:
    """Entropy over the classes of every pixel; `axis` is the class axis and disappears.

    The probabilities of a pixel are taken as they are: they should sum to 1.

    Raises:
        InputError: A probability is NaN or outside [0, 1].
    """
    return entr(_checked(probabilities)).sum(axis=axis)


def least_confidence(probability: np.ndarray) -> np.ndarray:
    """One minus the probability of the likelier class of every pixel: 0 (certain) to 0.5 (p = 0.5)."""
    p = _checked(probability)
    return np.minimum(p, 1.0 - p)


def _checked(probability: np.ndarray) -> np.ndarray:
    p = np.asarray(probability, np.float64)
    if p.size and not (p.min() >= 0.0 and p.max() <= 1.0):
        raise InputError("probabilities must lie in [0, 1] and not be NaN")
    return p
