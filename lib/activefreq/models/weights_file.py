"""Reading what `torch.save` wrote, and saying in a line why a file is none of these."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, BinaryIO

import torch

from activefreq.errors import CheckpointError

_LONGEST = 300


def load_weights(source: Path | BinaryIO) -> Any:
    """What a file of torch's holds, on the CPU; runs no code from it.

    Raises:
        CheckpointError: It is none, or holds more than tensors and plain values; the message does not name the file.
        OSError: It cannot be read.
    """
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except RuntimeError as error:
        raise CheckpointError(in_a_line(error)) from error
    except Exception as error:  # a damaged pickle can fail in any way; torch advises to run the code in it
        raise CheckpointError("it is no file of weights, or holds more than these") from error


def in_a_line(error: Exception) -> str:
    """An error's message, of which torch makes a line for each weight, on one line and cut where it gets long."""
    return textwrap.shorten(str(error), _LONGEST, placeholder=" ...")
