"""How much of two masks is the same."""

from __future__ import annotations

import numpy as np


def intersection_over_union(mask: np.ndarray, target: np.ndarray) -> float:
    """IoU of two masks (H, W) bool, in [0, 1]; 1 if both are empty."""
    union = np.count_nonzero(mask | target)
    return np.count_nonzero(mask & target) / union if union else 1.0
