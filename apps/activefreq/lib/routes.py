"""The HTTP route of inference, in place of MONAI Label's own.

MONAI Label's route blocks the whole server while it computes, lets `params` override the image and the model of the
address, reads any file that `image` names, and answers malformed requests with a bare 500.
"""

from __future__ import annotations

import json
from typing import Any

from fastapi import BackgroundTasks, Depends, FastAPI, File, Form, HTTPException, UploadFile
from fastapi.routing import APIRoute
from monailabel.config import settings
from monailabel.endpoints import infer
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.utils.app import app_instance

PATH = "/infer/{model}"
RESERVED = ("model", "image", "session", "description")
"""Entries of a request that only its address, or the server itself, may set."""


def replace_infer_route(server: FastAPI) -> None:
    """Puts this module's route before MONAI Label's."""
    route = APIRoute(
        settings.MONAI_LABEL_API_STR + PATH,
        run_inference,
        methods=["POST"],
        summary="Run inference with one of the models",
        tags=["Infer"],
        dependencies=[Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))],
        response_model=None,
    )
    server.router.routes.insert(0, route)


# Not `async`: such a function runs in a thread, and the server answers others meanwhile.
def run_inference(
    background_tasks: BackgroundTasks,
    model: str,
    image: str = "",
    session_id: str = "",
    params: str = Form("{}"),
    file: UploadFile = File(None),
    label: UploadFile = File(None),
    output: infer.ResultType | None = None,
) -> Any:
    """Checks what MONAI Label does not, then lets it do the rest."""
    checked = parse_params(params)
    app = app_instance()
    if session_id:
        sessions = app.sessions()
        if sessions is None or sessions.get_session(session_id) is None:
            raise HTTPException(404, f"there is no session {session_id!r}; it may have expired")
    elif not file:
        if not image:
            raise HTTPException(422, "the request names no image: give image, session_id or file")
        app.datastore().get_image_uri(image)
    return infer.run_inference(background_tasks, model, image, session_id, json.dumps(checked), file, label, output)


def parse_params(params: str) -> dict[str, Any]:
    """The `params` of a request. A `label` in them is the name of a structure; it would hide an uploaded mask.

    Raises:
        HTTPException: 422 if they are no JSON object, or set what is not theirs to set.
    """
    try:
        parsed = json.loads(params or "{}")
    except (ValueError, RecursionError) as error:
        raise HTTPException(422, f"params is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise HTTPException(422, f"params must be a JSON object, not {params[:80]!r}")
    for name in RESERVED:
        if name in parsed:
            raise HTTPException(422, f"params must not set {name!r}: it is part of the request's address")
    parsed.pop("label", None)
    return parsed
