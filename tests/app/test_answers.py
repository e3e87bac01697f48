"""Errors as HTTP answers."""

from __future__ import annotations

import errno

import pytest
from fastapi import HTTPException

from lib.answers import http_errors


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/secret/studies"), 503, "the studies cannot be written"),
        (PermissionError(errno.EPERM, "Operation not permitted"), 503, "the studies cannot be written"),
        (OSError(errno.EROFS, "Read-only file system", "/secret/studies"), 503, "their disk is read-only"),
        (OSError(errno.ENOSPC, "No space left on device"), 507, "the server's disk is full"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/secret/studies"), 404, "is not there"),
    ],
)
def test_what_the_disk_refuses_is_said_without_saying_where_it_is(error: OSError, status: int, message: str) -> None:
    with pytest.raises(HTTPException, match=message) as caught, http_errors():
        raise error
    assert caught.value.status_code == status
    assert "secret" not in caught.value.detail
