"""The routes that stand in place of MONAI Label's."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from monailabel.endpoints.user.auth import RBAC

import lib.routes
from lib.ohif import CONFIGURATION_PATH, add_ohif_routes
from lib.request_checks import Door
from lib.routes import in_thread, serve_routes


def test_an_endpoint_runs_in_the_thread_that_calls_it_after_its_checks() -> None:
    called = []

    async def endpoint(params: str = "{}") -> str:
        """What it is for."""
        called.append(params)
        return threading.current_thread().name

    run = in_thread(endpoint, of_task=True)
    assert run(params='{"a": 1}') == threading.current_thread().name
    with pytest.raises(HTTPException):
        run(params='{"bundle_path": "/tmp"}')
    assert called == ['{"a": 1}']
    assert (run.__name__, run.__doc__) == ("endpoint", "What it is for.")


@pytest.mark.parametrize("dicomweb", [False, True])
def test_what_is_served_is_known(dicomweb: bool) -> None:
    server = FastAPI(docs_url=None, redoc_url="/docs")
    server.add_api_route("/reload", lambda: {}, methods=["POST"])
    serve_routes(server, door=Door(upload_bytes=1), dicomweb=dicomweb)
    served = {
        f"{method} {route.path}"
        for route in server.router.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    proxied = {f"{method} /proxy/dicom/{kind}{{path:path}}" for method in ("GET", "POST") for kind in ("", "wado/")}
    assert proxied <= served if dicomweb else not proxied & served
    assert {path for path in served if not path.startswith(("GET /proxy", "POST /proxy"))} == {
        *("POST /infer/{model}", "GET /info/", "GET /model/{model}", "GET /model/info/{model}"),
        *("GET /train/", "POST /train/", "POST /train/{model}", "DELETE /train/"),
        *("GET /scoring/", "POST /scoring/", "POST /scoring/{method}", "DELETE /scoring/"),
        *("POST /activelearning/{strategy}", "GET /logs/", "GET /logs/gpu", "GET /ohif/{path:path}"),
        *("GET /datastore/", "PUT /datastore/", "DELETE /datastore/", "GET /datastore/dataset"),
        *("PUT /datastore/image", "GET /datastore/image", "HEAD /datastore/image", "DELETE /datastore/image"),
        *("GET /datastore/image/info", "PUT /datastore/image/info"),
        *("PUT /datastore/label", "GET /datastore/label", "HEAD /datastore/label", "DELETE /datastore/label"),
        *("GET /datastore/label/info", "PUT /datastore/label/info", "PUT /datastore/updatelabelinfo"),
        *("PUT /session/", "GET /session/{session_id}", "DELETE /session/{session_id}"),
    }


def test_every_route_asks_who_it_is() -> None:
    """Where MONAI Label's authentication is on, which asks nothing for a question of whether it is."""
    server = FastAPI()
    serve_routes(server, door=Door(upload_bytes=1), dicomweb=True)
    add_ohif_routes(server, label="lesion", door=Door(upload_bytes=1))
    routes = [route for route in server.router.routes if isinstance(route, APIRoute)]
    assert len(routes) > 30
    for route in routes:
        asks = any(isinstance(dependency.call, RBAC) for dependency in route.dependant.dependencies)
        assert asks or route.path == CONFIGURATION_PATH, route.path


@pytest.mark.parametrize("body", ["NaN", "[1, Infinity]", '"\\ud800"', "{", '{"a": NaN}'])
def test_a_body_that_is_no_json_is_refused_and_not_told_again(body: str) -> None:
    server = FastAPI()
    serve_routes(server, door=Door(upload_bytes=1), dicomweb=False)
    answer = TestClient(server, base_url="http://localhost", raise_server_exceptions=False).post(
        "/activelearning/first", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"]


@pytest.mark.parametrize("body", ["NaN", "[1, Infinity]"])
def test_it_is_refused_so_where_routes_are_made_while_the_server_starts(body: str) -> None:
    """As MONAI Label makes them."""

    @contextlib.asynccontextmanager
    async def start(server: FastAPI) -> AsyncIterator[None]:
        serve_routes(server, door=Door(upload_bytes=1), dicomweb=False)
        yield

    server = FastAPI(lifespan=start)
    with TestClient(server, base_url="http://localhost", raise_server_exceptions=False) as client:
        answer = client.post("/activelearning/first", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"]


@pytest.mark.parametrize(("path", "task"), [("/train/", "activefreq"), ("/scoring/", "acselect")])
def test_parameters_of_one_task_that_are_no_object_are_refused(
    monkeypatch: pytest.MonkeyPatch, path: str, task: str
) -> None:
    app = SimpleNamespace(_trainers={"activefreq": None}, _scoring_methods={"acselect": None})
    monkeypatch.setattr(lib.routes, "app_instance", lambda: app)
    server = FastAPI()
    serve_routes(server, door=Door(upload_bytes=1), dicomweb=False)
    client = TestClient(server, base_url="http://localhost", raise_server_exceptions=False)
    for value in ("x", 5):
        answer = client.post(path, json={task: value})
        assert (answer.status_code, f"for '{task}'" in answer.json()["detail"]) == (422, True)
