"""The HTTP routes, in place of MONAI Label's own.

MONAI Label's endpoints do their work in the server's only loop, so that nobody else is answered meanwhile, and answer
most of what they do not like with a bare 500. Here the same endpoints run in threads, behind the checks of
`request_checks`, and what goes wrong is said. Inference has an endpoint of its own, see `inference`.

Not served are those for which this app has nothing (whole-slide images), and those that let anybody have all studies
computed, replace or remove the weights, or restart the app.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException
from fastapi import params as parameters
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from monailabel.config import settings
from monailabel.endpoints import activelearning, datastore, info, login, logs, model, ohif, proxy, scoring, train
from monailabel.endpoints import session as sessions
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.utils.app import app_instance
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from lib.answers import http_errors
from lib.clients import remember_browser
from lib.dicom_proxy import passed_on
from lib.inference import run_inference
from lib.received import create_session, pack_dataset, save_image, save_label
from lib.request_checks import Door, check_arguments, check_entries, parse_object
from lib.suggested_segments import refuse_uploaded_suggestions
from lib.task_queue import cancel_waiting, install_queue

PATH = "/infer/{model}"
TASKS = (train, scoring, activelearning)
"""Modules of endpoints whose `params` are those of a task."""
INSTEAD: dict[Callable[..., Any], Callable[..., Any]] = {
    datastore.api_add_image: save_image,
    datastore.api_save_label: save_label,
    datastore.api_download_dataset: pack_dataset,
    sessions.api_create_session: create_session,
}
"""What is called in place of an endpoint that leaves files behind where it fails."""
OWN_ROUTES = ("/", "/favicon.ico", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/static")
"""Of the server itself, that stay as they are."""

Endpoint = Callable[..., Awaitable[Any]]


def serve_routes(server: FastAPI, *, door: Door, dicomweb: bool) -> None:
    """Replaces all routes of MONAI Label's server; stopping the training also takes back those that wait.

    Args:
        server: MONAI Label's.
        door: Which requests are let in.
        dicomweb: Whether the studies are on a DICOMweb server, to which the viewer's requests are passed on.
    """
    install_queue("train")
    prefix = settings.MONAI_LABEL_API_STR
    limited = guarded_route(door)
    own: list[APIRoute] = [
        limited(
            prefix + PATH,
            run_inference,
            methods=["POST"],
            summary="Run inference with one of the models",
            tags=["Infer"],
            dependencies=[Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))],
            response_model=None,
        )
    ]
    modules = [info, model, train, activelearning, scoring, datastore, logs, sessions, ohif]
    modules += [login] if settings.MONAI_LABEL_AUTH_ENABLE else []
    for module in modules:
        for route in _routes(module.router):
            if module is model and route.methods != {"GET"}:
                continue
            endpoint = in_thread(route.endpoint, of_task=module in TASKS)
            own.append(_like(route, endpoint, limited, prefix))
    if dicomweb:
        passing = guarded_route(replace(door, other_bytes=door.upload_bytes))
        own += [_like(route, passed_on(route.endpoint), passing, prefix) for route in _routes(proxy.router)]
    kept = [route for route in server.router.routes if isinstance(route, (Route, Mount)) and route.path in OWN_ROUTES]
    server.router.routes[:] = [*kept, *own]


def _refused(error: RequestValidationError) -> Response:
    """422 without what was sent, which may be nothing that JSON has."""
    problems = [{key: one[key] for key in ("loc", "msg", "type") if key in one} for one in error.errors()]
    return JSONResponse({"detail": jsonable_encoder(problems, custom_encoder={str: _printable})}, status_code=422)


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def guarded_route(door: Door) -> type[APIRoute]:
    """A kind of route that has a door, and says what went wrong."""

    class GuardedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:
            handle = super().get_route_handler()
            takes_files = any(isinstance(field.field_info, parameters.Form) for field in self.dependant.body_params)

            async def guarded(request: Request) -> Response:
                with http_errors():
                    door.check(request, takes_files=takes_files)
                    remember_browser(request)
                    # Not as a handler of the server's: its start, at which routes are made, is too late for one.
                    try:
                        return await handle(request)
                    except RequestValidationError as error:
                        return _refused(error)

            return guarded

    return GuardedRoute


def in_thread(endpoint: Endpoint, *, of_task: bool) -> Callable[..., Any]:
    """An endpoint that is checked, and then runs in a thread, so that the server answers others meanwhile."""

    def run(**arguments: Any) -> Any:
        check_arguments(arguments, of_task=of_task)
        _check_call(endpoint, arguments)
        cancelled = cancel_waiting("train") if endpoint is train.api_stop else []
        own = INSTEAD.get(endpoint)
        answer = own(**arguments) if own else asyncio.run(endpoint(**arguments))  # type: ignore[arg-type]
        if cancelled and answer is None:
            answer = cancelled[-1]
        if isinstance(answer, FileResponse) and not Path(answer.path).is_file():
            raise HTTPException(404, "there is no such file")
        return answer

    return _dressed(run, endpoint)


def _check_call(endpoint: Endpoint, arguments: dict[str, Any]) -> None:
    """What one endpoint alone is to be checked for.

    Raises:
        HTTPException: 404 for a task that is not there, before a process is started for it; 422 for parameters of one
            that are no object, and for a final label with suggested regions in it, wherever the studies are.
    """
    if endpoint is datastore.api_save_label:
        if arguments["tag"] in ("", DefaultLabelTag.FINAL.value):
            refuse_uploaded_suggestions(arguments["label"], parse_object("params", arguments["params"]))
    elif endpoint is train.api_run_model:
        app_instance().check_trainer(arguments["model"])
    elif endpoint is train.api_run:
        check_entries(arguments["params"], app_instance()._trainers)
    elif endpoint is scoring.api_run:
        check_entries(arguments["params"], app_instance()._scoring_methods)
    elif endpoint is scoring.api_run_method:
        app_instance().check_scoring_method(arguments["method"])


def _routes(router: APIRouter) -> list[APIRoute]:
    return [route for route in router.routes if isinstance(route, APIRoute)]


def _like(route: APIRoute, endpoint: Callable[..., Any], kind: type[APIRoute], prefix: str) -> APIRoute:
    """A route with another endpoint."""
    return kind(
        prefix + route.path,
        endpoint,
        methods=route.methods,
        summary=route.summary,
        tags=route.tags,
        responses=route.responses,
        response_model=route.response_model,
        deprecated=route.deprecated,
        include_in_schema=route.include_in_schema,
    )


def _dressed(function: Callable[..., Any], endpoint: Endpoint) -> Callable[..., Any]:
    """The function with the endpoint's name and parameters; `functools.wraps` would have FastAPI look through it."""
    function.__name__, function.__doc__ = endpoint.__name__, endpoint.__doc__  # type: ignore[attr-defined]
    function.__signature__ = inspect.signature(endpoint)  # type: ignore[attr-defined]
    return function
