"""Connections to other servers that do not wait for ever: a request of a client holds a thread of ours meanwhile."""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter

CONNECT_SECONDS = 10.0
READ_SECONDS = 120.0
"""Between two pieces of an answer: an archive may have to fetch a series from a slow store first."""


class ImpatientAdapter(HTTPAdapter):
    """Gives up where the caller does not say when to.

    Args:
        connect, read: Seconds until a connection is there, and between two pieces of an answer.
    """

    def __init__(self, connect: float = CONNECT_SECONDS, read: float = READ_SECONDS) -> None:
        super().__init__()
        self._timeout = (connect, read)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Raises `requests.Timeout`."""
        if options.get("timeout") is None:
            options["timeout"] = self._timeout
        return super().send(request, *args, **options)


def impatient(session: requests.Session, *, read: float = READ_SECONDS) -> requests.Session:
    """The session, whose requests end with `requests.Timeout` where nothing comes for `read` seconds."""
    for scheme in ("http://", "https://"):
        session.mount(scheme, ImpatientAdapter(read=read))
    return session
