"""Errors as HTTP answers that say what is wrong; MONAI Label turns every other exception into a bare 500."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from fastapi import HTTPException

from activefreq.errors import CheckpointError, InputError


@contextlib.contextmanager
def http_errors() -> Iterator[None]:
    """Within the block, bad input answers 422, a broken checkpoint 503, and a full disk or memory 507."""
    try:
        yield
    except InputError as error:
        raise HTTPException(422, str(error)) from error
    except CheckpointError as error:
        raise HTTPException(503, f"the model cannot be used: {error}") from error
    except MemoryError as error:
        raise HTTPException(507, "the server has too little memory for this image") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HTTPException(507, "the server's disk is full; nothing was changed") from error
        raise
