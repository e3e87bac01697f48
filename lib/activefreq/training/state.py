"""Everything that a training needs to go on exactly where it was, in one file that is written atomically."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from activefreq.errors import CheckpointError
from activefreq.files.atomic import atomic_write

FORMAT = 1


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes a training state; a reader finds the old one or the new one, whole."""
    with atomic_write(path) as temporary:
        torch.save({"format": FORMAT, **state}, temporary)


def load_state(path: Path) -> dict[str, Any]:
    """Reads a training state. Raises `CheckpointError` naming what is wrong."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is not a readable training state: {error}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a training state of format {FORMAT}")
    return state
