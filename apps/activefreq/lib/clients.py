"""Who asks: what was given to somebody, and what somebody clicked last, is theirs.

Slicer and scripts send a `client_id`. OHIF sends none, so its browser gets a cookie with the viewer's configuration.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

COOKIE = "activefreq_client"
LONGEST = 64
"""Characters of a name: it is kept with what its client clicked, and with the images that the client was given."""
YEAR = 365 * 86400

_browser: ContextVar[str] = ContextVar("browser", default="")


def give_cookie(request: Request, response: Response) -> None:
    """Gives a browser a name, for a year, unless it has one."""
    if not request.cookies.get(COOKIE):
        name = f"browser-{secrets.token_hex(8)}"
        response.set_cookie(COOKIE, name, max_age=YEAR, httponly=True, samesite="lax")


def remember_browser(request: Request) -> None:
    """Makes the browser's name known to whatever answers this request, in whichever thread."""
    _browser.set(request.cookies.get(COOKIE, "")[:LONGEST])


def client_of(params: Mapping[str, Any]) -> str:
    """Who sent these parameters: by their `client_id`, else by the browser's cookie; empty if neither says it."""
    return str(params.get("client_id") or _browser.get())
