"""Arrays drawn as text, so that a test shows what it computes on."""

import numpy as np


def draw(picture: str) -> np.ndarray:
    """A mask (H, W) from rows of '.' (False) and '#' (True)."""
    return np.array([[character == "#" for character in row] for row in picture.split()])


def draw_errors(picture: str) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and target from rows of '.' (neither), '#' (both), '+' (missed) and '-' (excess)."""
    rows = np.array([list(row) for row in picture.split()])
    return np.isin(rows, ["#", "-"]), np.isin(rows, ["#", "+"])
