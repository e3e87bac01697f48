"""What every request is checked for, whichever route it takes.

MONAI Label takes what comes: text that is no JSON, NaN that makes every later answer fail, names that lead elsewhere,
entries that override what the address says, archives that unpack anywhere. Each becomes a 4xx here, before anything is
done.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
import socket
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from fastapi import HTTPException
from monailabel.config import settings
from starlette.datastructures import UploadFile
from starlette.requests import Request

from lib.clients import LONGEST

RESERVED = ("model", "image", "session", "description", "images", "method", "strategy", "bundle_path", "local_rank")
"""Entries of a request that only its address, or the server itself, may set. One of them, `bundle_path`, would be
searched for Python modules by the processes that train."""

JSON_BYTES = 1 << 20
"""The longest body that is no file."""

TASK_BYTES = 1 << 15
"""The longest parameters of a task that runs in a process of its own. MONAI Label may give it them twice, in one
argument, and Linux starts no process with one of 128 kB: the task would wait for ever, and all others behind it."""

HALVES = (".mhd", ".nhdr")
"""Headers that are read with a file beside them; what lies beside an upload is not its sender's."""

LOGGED = ("id", "image", "label", "tag")
"""What MONAI Label writes into its log before it looks for it; with line ends a request could make up entries."""

_DEPTH = 32
_SESSION = re.compile(r"[\w-]{1,64}", re.ASCII)
_GPUS = re.compile(r"(all|\d{1,3}(,\d{1,3}){0,63})?", re.ASCII)
_HASHES = ("SHA256", "SHA512", "MD5")


def parse_object(name: str, text: str) -> dict[str, Any]:
    """A JSON object that came as text. Raises `HTTPException` (422) for anything else; `name` says what it is."""
    try:
        parsed = json.loads(text or "{}", parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise HTTPException(422, f"{name} is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise HTTPException(422, f"{name} must be a JSON object, not {text[:80]!r}")
    check_json(name, parsed)
    return parsed


def check_json(name: str, value: Any) -> None:
    """Raises `HTTPException` (422) for what could be kept but not be told again: NaN, half characters, deep nests."""
    for item in _leaves(name, value, 0):
        if isinstance(item, float) and not math.isfinite(item):
            raise HTTPException(422, f"{name} holds {item}, which is no number of JSON")
        if isinstance(item, str):
            try:
                item.encode()
            except UnicodeEncodeError as error:
                raise HTTPException(422, f"{name} holds text that is not Unicode: {item[:80]!r}") from error
            if "\0" in item:
                raise HTTPException(422, f"{name} holds a null character: {item[:80]!r}")


def check_params(params: Mapping[str, Any]) -> None:
    """Raises `HTTPException` (422) for parameters of a task that set what is not theirs, or are too long to be kept."""
    for name in RESERVED:
        if name in params:
            raise HTTPException(422, f"params must not set {name!r}: it is part of the request's address")
    client = str(params.get("client_id") or "")
    if len(client) > LONGEST:
        raise HTTPException(422, f"client_id must not be longer than {LONGEST} characters, but has {len(client)}")
    gpus = params.get("gpus")
    if not (gpus is None or (isinstance(gpus, str) and _GPUS.fullmatch(gpus))):
        raise HTTPException(422, f"gpus must be text such as 'all' or '0,1', not {str(gpus)[:80]!r}")
    tracking = params.get("tracking_uri") or ""
    if tracking != settings.MONAI_LABEL_TRACKING_URI and not str(tracking).startswith(("http://", "https://")):
        raise HTTPException(422, "tracking_uri must be a web address, or what MONAI_LABEL_TRACKING_URI names")


def check_arguments(arguments: Mapping[str, Any], *, of_task: bool) -> None:
    """Checks what FastAPI passes to one of MONAI Label's endpoints.

    Args:
        arguments: By name.
        of_task: Whether `params` are those of a task; else they are notes to be kept.

    Raises:
        HTTPException: 404 or 422, naming what cannot be used.
    """
    for name, value in arguments.items():
        if name in ("params", "info") and value is not None:
            parsed = parse_object(name, value) if isinstance(value, str) else value
            check_json(name, parsed)
            if of_task:
                # A process is started with them as its argument.
                if len(json.dumps(parsed)) > TASK_BYTES:
                    raise HTTPException(413, f"{name} must not be longer than {TASK_BYTES} characters")
                # Posted to all tasks at once, the entries are those of each task.
                for params in (parsed, *(entry for entry in parsed.values() if isinstance(entry, dict))):
                    check_params(params)
        elif name in LOGGED and isinstance(value, str) and not value.isprintable():
            raise HTTPException(422, f"the {name} {value[:80]!r} cannot be used: it has characters that are not shown")
        elif name == "session_id" and value:
            check_session(value)
        elif name == "uncompress" and value:
            raise HTTPException(422, "archives are not unpacked: upload the images themselves")
        elif name == "check_sum" and ":" in (value or "") and value.split(":")[0] not in _HASHES:
            raise HTTPException(422, f"check_sum must be of {', '.join(_HASHES)}, not {value[:80]!r}")
        elif isinstance(value, int) and abs(value) > 1 << 31:
            raise HTTPException(422, f"{name} is out of range")
        for file in value if isinstance(value, list) else [value]:
            if isinstance(file, UploadFile):
                check_upload(file)


def check_entries(params: Mapping[str, Any] | None, tasks: Collection[str]) -> None:
    """Raises `HTTPException` (422) unless what parameters for all tasks at once say for one of them is an object."""
    for name, value in (params or {}).items():
        if name in tasks and value is not None and not isinstance(value, dict):
            raise HTTPException(422, f"params must have a JSON object for {name!r}, not {str(value)[:80]!r}")


def check_session(session_id: str) -> None:
    """Raises `HTTPException` (404) for what cannot be a session: its name becomes that of a folder."""
    if not _SESSION.fullmatch(session_id):
        raise HTTPException(404, f"there is no session {session_id[:80]!r}")


def check_upload(file: UploadFile) -> None:
    """Raises `HTTPException` (422) for a file whose name, or the ending that is kept of it, cannot be one here."""
    name = PurePosixPath(file.filename or "").name
    if file.filename and (name in ("", "..", "meta.info") or not name.isprintable() or len(name.encode()) > 200):
        raise HTTPException(422, f"the file name {(file.filename or '')[:80]!r} cannot be used")
    if name.lower().endswith(HALVES):
        raise HTTPException(
            422, f"{name[:80]!r} says that its voxels are in another file: upload a file that has its own"
        )


@dataclass(frozen=True)
class Door:
    """Which requests are let in, by their headers: before they take memory or disk.

    Attributes:
        upload_bytes: The most that a form with files may have.
        other_bytes: The most that any other body may have.
        origins: Of web pages that may use the server beside its own, such as "https://viewer.example"; "*" for all.
        names: By which the server may be called beside those of `origins`, its addresses and "localhost".
    """

    upload_bytes: int
    other_bytes: int = JSON_BYTES
    origins: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    def check(self, request: Request, *, takes_files: bool) -> None:
        """Raises `HTTPException`: 403 for a page from elsewhere, 411 without a length, 413 for one too large.

        Args:
            takes_files: Whether the route takes a form; anything else sent as one is not read.
        """
        host = request.headers.get("host", "")
        self._check_name(host)
        self._check_origin(request.headers.get("origin"), host)
        if "transfer-encoding" in request.headers:
            raise HTTPException(411, "the request must tell its length (Content-Length)")
        is_form = request.headers.get("content-type", "").lower().startswith("multipart/")
        limit = self.upload_bytes if is_form and takes_files else self.other_bytes
        if int(request.headers.get("content-length") or 0) > limit:
            raise HTTPException(413, f"the request is larger than the {limit} bytes that this server takes")

    def _check_name(self, host: str) -> None:
        """Else a page elsewhere could have its own name lead here, and be a page of this server (DNS rebinding)."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = host
        known = self.names | {urlsplit(origin).hostname or "" for origin in self.origins} | {"", "localhost"}
        if "*" not in self.origins and name not in known and not _is_address(name):
            raise HTTPException(403, f"this server is not known as {name[:80]!r} (--conf origins names its pages)")

    def _check_origin(self, origin: str | None, host: str) -> None:
        """Else any page that somebody here visits could read the images: MONAI Label allows it to all (CORS)."""
        if origin is None or not self.origins.isdisjoint({"*", origin}):
            return
        try:
            own = urlsplit(origin).netloc == host != ""
        except ValueError:
            own = False
        if not own:
            raise HTTPException(403, f"pages of {origin[:80]!r} may not use this server (--conf origins names who may)")


def own_names() -> frozenset[str]:
    """What this computer is called in its network."""
    name = socket.gethostname().lower()
    return frozenset({name, f"{name}.local", socket.getfqdn().lower()})


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _leaves(name: str, value: Any, depth: int) -> Iterator[Any]:
    if depth > _DEPTH:
        raise HTTPException(422, f"{name} is nested more than {_DEPTH} deep")
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _leaves(name, item, depth + 1)
    else:
        yield value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")
