"""Everything that a training needs to go on exactly where it was: one file for a step, the last two of them kept."""

from __future__ import annotations

import io
import logging
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from activefreq.errors import CheckpointError
from activefreq.files.atomic import atomic_write

logger = logging.getLogger(__name__)

FORMAT = 2
KEPT = 2
_NAME = "state-{:08d}.pt"
_PATTERN = re.compile(r"state-(\d{8})\.pt")


def state_files(folder: Path) -> dict[int, Path]:
    """The states in a folder by their steps, the newest first."""
    matches = [(_PATTERN.fullmatch(path.name), path) for path in folder.glob("state-*.pt")]
    found = {int(match[1]): path for match, path in matches if match}
    return dict(sorted(found.items(), reverse=True))


def save_state(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Writes the state after a step; a reader finds the file whole or not at all.

    Keeps the one before it, and removes older ones and those of later steps: only a damaged one can be there, when
    a training has gone back to an earlier one.
    """
    path = folder / _NAME.format(step)
    # As in `save_checkpoint`: so that a full disk is called one.
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())
    past = [other for other in state_files(folder) if other <= step][:KEPT]
    for other, old in state_files(folder).items():
        if other not in past:
            old.unlink()
    return path


def load_newest_state(folder: Path) -> tuple[int, dict[str, Any]] | None:
    """The step and the state of the newest file that is whole; None if the folder has no state.

    Raises:
        CheckpointError: There are states, but each is damaged.
    """
    problems = []
    for step, path in state_files(folder).items():
        try:
            state = load_state(path)
        except CheckpointError as error:
            logger.warning("%s", error)
            problems.append(str(error))
        else:
            return step, state
    if problems:
        raise CheckpointError(f"no state in {folder} can be used: {'; '.join(problems)}")
    return None


def load_state(path: Path) -> dict[str, Any]:
    """Reads a training state; runs no code from it. Raises `CheckpointError` naming what is wrong."""
    try:
        # Torch does not look at the checksums that it writes.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointError(f"{path} is damaged: the checksum of {damaged} is wrong")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        pickle.UnpicklingError,
    ) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} is not a readable training state: {error}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a training state of format {FORMAT}")
    return state
