"""The way of OHIF's requests to the DICOMweb server.

MONAI Label's own forwards the path alone, so that every search finds everything and every page is the first one; it
waits for ever; and it hands the headers of the browser on, with its cookies and the name of this server.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

import anyio
import google.auth
import google.auth.transport.requests
import requests
from fastapi import HTTPException
from monailabel.config import settings
from starlette.requests import Request
from starlette.responses import Response

from lib.timeouts import CONNECT_SECONDS

THREADS = 16
"""That wait for the DICOMweb server at the same time; those that answer clicks are others."""

_PREFIXES = {
    "proxy_wado": "MONAI_LABEL_WADO_PREFIX",
    "proxy_qido": "MONAI_LABEL_QIDO_PREFIX",
    "proxy_stow": "MONAI_LABEL_STOW_PREFIX",
}
"""By the names of MONAI Label's endpoints."""

_SENT = ("content-type", "accept")
"""What a request with a body says of it."""

_OWN = {
    *("connection", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade"),
    *("content-length", "content-encoding", "set-cookie"),
}
"""Headers of an answer that concern its own connection: it is sent on unpacked, and whole."""

_threads = anyio.CapacityLimiter(THREADS)


def passed_on(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """In place of one of MONAI Label's endpoints; cannot be led to other parts of the server than its root."""

    async def run(request: Request, path: str, **_: Any) -> Response:
        if ".." in unquote(unquote(path)):
            raise HTTPException(404, f"there is no {path[:80]!r}")
        body = await request.body()
        return await anyio.to_thread.run_sync(_forward, request, endpoint.__name__, path, body, limiter=_threads)

    run.__name__, run.__doc__ = endpoint.__name__, endpoint.__doc__
    run.__signature__ = inspect.signature(endpoint)  # type: ignore[attr-defined]
    return run


def _forward(request: Request, endpoint: str, path: str, body: bytes) -> Response:
    """Raises `requests.RequestException` if the server does not answer."""
    auth, headers = _access()
    posted = request.method == "POST"
    if posted:
        headers |= {name: request.headers[name] for name in _SENT if name in request.headers}
    answer = requests.request(
        request.method,
        _address(endpoint, path, request.url.query),
        auth=auth,
        headers=headers,
        data=body if posted else None,
        timeout=(CONNECT_SECONDS, settings.MONAI_LABEL_DICOMWEB_PROXY_TIMEOUT),
    )
    kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OWN}
    return Response(answer.content, answer.status_code, kept)


def _address(endpoint: str, path: str, query: str) -> str:
    if endpoint == "proxy_qido" and path.endswith("metadata"):
        endpoint = "proxy_wado"  # some versions of OHIF take the one for the other
    prefix = getattr(settings, _PREFIXES[endpoint]) if endpoint in _PREFIXES else ""
    parts = [settings.MONAI_LABEL_STUDIES.rstrip("/"), prefix, quote(path, safe="/:@!$&'()*+,;=~")]
    return "/".join(part for part in parts if part) + (f"?{query}" if query else "")


def _access() -> tuple[tuple[str, str] | None, dict[str, str]]:
    """The credentials of MONAI Label's settings: name and password, and headers."""
    if "googleapis.com" in settings.MONAI_LABEL_STUDIES:
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        credentials.refresh(google.auth.transport.requests.Request())
        return None, {"Authorization": f"Bearer {credentials.token}"}
    user, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
    return ((user, password) if user and password else None), {}
