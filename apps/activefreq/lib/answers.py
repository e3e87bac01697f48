"""Errors as HTTP answers that say what is wrong; MONAI Label turns every other exception into a bare 500."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import requests
from fastapi import HTTPException
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException, MONAILabelException

from activefreq.errors import CheckpointError, InputError


@contextlib.contextmanager
def called(path: str | Path, name: str) -> Iterator[None]:
    """Within the block, errors name a file as the client knows it; where it lies is the server's to know."""
    with all_called({str(path): name}):
        yield


@contextlib.contextmanager
def all_called(names: Mapping[str, str]) -> Iterator[None]:
    """As `called`, for several files: their names by their paths."""
    try:
        yield
    except (InputError, CheckpointError) as error:
        raise type(error)(without_paths(str(error), names)) from error


def without_paths(text: str, names: Mapping[str, str]) -> str:
    """The text with names in place of paths."""
    # The longest first: one path may be the beginning of another.
    for path in sorted(names, key=len, reverse=True):
        text = text.replace(path, names[path])
    return text


def is_full_disk(error: OSError) -> bool:
    """Whether a file could not be written for want of room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def http_errors() -> Iterator[None]:
    """Within the block, bad input answers 422, and what is not there (any more) 404.

    A broken checkpoint answers 503, as do studies that cannot be written; a full disk or memory 507, a DICOMweb server
    that does not answer 502.
    """
    try:
        yield
    except InputError as error:
        raise HTTPException(422, str(error)) from error
    except CheckpointError as error:
        raise HTTPException(503, f"the model cannot be used: {error}") from error
    except MemoryError as error:
        raise HTTPException(507, "the server has too little memory for this image") from error
    except (ImageNotFoundException, LabelNotFoundException) as error:
        raise HTTPException(404, error.msg) from error
    except MONAILabelException as error:
        raise HTTPException(422, error.msg) from error
    except NotImplementedError as error:
        raise HTTPException(405, "these studies cannot do that") from error
    except psutil.NoSuchProcess as error:
        raise HTTPException(404, "the task has ended by itself") from error
    except requests.RequestException as error:
        raise HTTPException(502, f"another server does not answer as it should: {error}") from error
    except FileNotFoundError as error:
        raise HTTPException(404, "a file that this needs is not there (any more)") from error
    except sqlite3.OperationalError as error:
        full = "full" in str(error)
        reason = "the server's disk is full" if full else f"the server's database is busy: {error}"
        raise HTTPException(507 if full else 503, reason) from error
    except OSError as error:
        if is_full_disk(error):
            raise HTTPException(507, "the server's disk is full; nothing was changed") from error
        if error.errno == errno.EROFS:
            raise HTTPException(503, "the studies cannot be written: their disk is read-only") from error
        if isinstance(error, PermissionError):
            reason = "the studies cannot be written (or not be read): the server has no right to a file or folder there"
            raise HTTPException(503, reason) from error
        raise
