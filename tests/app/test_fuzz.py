"""Whatever comes, the server answers 2xx or 4xx, lives on, and touches nothing but its studies and sessions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from server import Server

pytestmark = [pytest.mark.server, pytest.mark.slow]

# The shared server makes every fixture of a test one of the whole session; a failure is shrunk by hand.
bounded = settings(
    max_examples=60,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module", autouse=True)
def nothing_else_is_touched(worn_server: Server) -> Iterator[None]:
    """Beside the studies, sessions and the log there is a file that nobody may read or write, and nothing new."""
    folder = worn_server.output.parent
    secret = folder / "secret.png"
    secret.write_bytes((folder / "studies" / "picture.png").read_bytes())
    before = {path.name for path in folder.iterdir()} | {"sessions", "finetuned"}
    yield
    end_tasks(worn_server)
    assert {path.name for path in folder.iterdir()} <= before
    assert secret.read_bytes() == (folder / "studies" / "picture.png").read_bytes()


def end_tasks(server: Server) -> None:
    """Ends what runs on: Hypothesis also draws texts of the project's code, and so at times the name of a task."""
    deadline = time.monotonic() + 120
    for method in ("train", "scoring"):
        while any(task["status"] in ("SUBMITTED", "RUNNING") for task in server.tasks(method)):
            assert time.monotonic() < deadline, (server.tasks(method), server.tail())
            requests.delete(f"{server.url}/{method}/", timeout=60)
            time.sleep(0.1)


def ask(server: Server, method: str, path: str, **arguments: Any) -> requests.Response:
    """Any answer but an error of the server; and the server must go on telling what it has."""
    answer = requests.request(method, server.url + path, timeout=120, **arguments)
    assert answer.status_code < 500, (method, path, arguments, answer.text, server.tail())
    for rest in ("/info/", "/datastore/?output=all"):
        assert requests.get(server.url + rest, timeout=120).ok, (method, path, arguments, server.tail())
    return answer


# Half characters (surrogates) come as escapes in JSON; NaN and Infinity come from Python.
text = st.text(st.characters(exclude_categories=[]), max_size=6)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | text | st.sampled_from([10**400, 1e308, "", "../.."])
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
deep = st.integers(1, 3000).map(lambda depth: "[" * depth + "]" * depth)
point = st.lists(st.integers(-2, 30) | leaves, min_size=3, max_size=3) | st.lists(leaves, max_size=5) | leaves
points = st.lists(point, max_size=4) | values
NAMES = ["foreground", "background", "clicks", "slice", "result_extension", "result_dtype", "result_compress", "label"]
NAMES += ["client_id", "save_label", "label_tag", "device", "model", "image", "session", "bundle_path", "gpus"]
entries = {name: points if name in ("foreground", "background", "clicks") else values for name in NAMES}
params = (
    st.fixed_dictionaries({}, optional=entries).map(json.dumps)
    | st.fixed_dictionaries({}, optional=dict.fromkeys(("foreground", "background"), points)).map(json.dumps)
    | values.map(json.dumps)
    | text.filter(lambda value: value.isprintable())
    | deep
)

images = st.sampled_from(["picture", "volume", "broken"]) | st.text(max_size=8)
images |= st.sampled_from(["/etc/passwd", "../secret", "../secret.png", "{folder}/secret.png", "..", ".", "\0", "a/b"])


@bounded
@given(image=images, params=params, output=st.sampled_from([None, "image", "json", "all", "dicom_seg", "dicom"]))
def test_clicks_of_every_kind(worn_server: Server, image: str, params: str, output: str | None) -> None:
    image = image.replace("{folder}", str(worn_server.output.parent))
    query = {"image": image, **({"output": output} if output else {})}
    answer = ask(worn_server, "POST", "/infer/activefreq", params=query, files={"params": (None, params)})
    if answer.ok:
        assert (
            image in ("picture", "volume")
            or image in requests.get(f"{worn_server.url}/datastore/?output=all", timeout=60).json()["objects"]
        )


@bounded
@given(params=params)
def test_suggestions_for_requests_of_every_kind(worn_server: Server, params: str) -> None:
    for task in ("activefreq_regions", "activefreq_auto"):
        ask(worn_server, "POST", f"/infer/{task}?image=volume", files={"params": (None, params)})


bodies = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("client_id", "strategy", "label_tag", "labels", "model", "gpus"), values)
)


@bounded
@given(strategy=st.sampled_from(["random", "acselect", "first"]) | text, body=bodies | values)
def test_next_samples_of_every_kind(worn_server: Server, strategy: str, body: Any) -> None:
    path = f"/activelearning/{quote(strategy.encode('utf-8', 'replace'), safe='')}"
    ask(worn_server, "POST", path, data=json.dumps(body), headers={"Content-Type": "application/json"})


settings_of_trainings = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("max_epochs", "val_split", "device", "gpus", "multi_gpu", "train_batch_size"), values),
        **dict.fromkeys(("tracking", "tracking_uri", "early_stop_patience", "bundle_path", "model"), values),
    },
)


@bounded
@given(body=settings_of_trainings | values)
def test_trainings_of_every_kind(worn_server: Server, body: Any) -> None:
    """Without a label none of them begins."""
    answer = ask(
        worn_server,
        "POST",
        "/train/activefreq?run_sync=true",
        data=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code in (400, 422)


names = st.text(max_size=12) | st.sampled_from(
    ["../x.png", "..", "a/../../x.nrrd", "x" * 300 + ".png", "x." + "y" * 300]
)
names |= st.sampled_from(["meta.info", "x.tar.gz", "x.bin", "\0.png", "x.nii.gz", "x.PNG", "sub/x.png", "a.png.exe"])
tags = st.sampled_from(["final", "original", "../../x", "a/b", "..", "\0", "/tmp/x"]) | st.text(max_size=6)
contents = st.binary(max_size=200)


@bounded
@given(image=images, tag=tags, name=names, params=params, content=contents)
def test_labels_of_every_kind(
    worn_server: Server, image: str, tag: str, name: str, params: str, content: bytes
) -> None:
    # Under another tag than the final one, so that nothing can be trained on.
    tag = tag.replace("final", "preliminary")
    query = {"image": image, "tag": tag or "empty"}
    upload = {"label": (name, content), "params": (None, params)}
    answer = ask(worn_server, "PUT", "/datastore/label", params=query, files=upload)
    known = {"label": image, "tag": query["tag"]}
    assert ask(worn_server, "GET", "/datastore/label", params=known).ok or not answer.ok
    ask(worn_server, "GET", "/datastore/label/info", params=known)
    ask(worn_server, "PUT", "/datastore/label/info", params=known, files={"info": (None, params)})
    ask(worn_server, "GET", "/datastore/label/info", params=known)


@bounded
@given(image=images | st.none(), name=names, params=params, content=contents)
def test_images_of_every_kind(worn_server: Server, image: str | None, name: str, params: str, content: bytes) -> None:
    query = {} if image is None else {"image": image}
    kept = ("picture", "volume")
    if image not in kept and not name.startswith(kept):
        ask(
            worn_server,
            "PUT",
            "/datastore/image",
            params=query,
            files={"file": (name, content), "params": (None, params)},
        )
    ask(worn_server, "PUT", "/datastore/image/info", params={"image": image or ""}, files={"info": (None, params)})
    for method in ("GET", "HEAD"):
        ask(worn_server, method, "/datastore/image", params={"image": image or "", "check_sum": f"{name}:1"})
    ask(worn_server, "GET", "/datastore/image/info", params={"image": image or ""})
    ask(worn_server, "POST", "/activelearning/first", json={})


@bounded
@given(uploads=st.lists(st.tuples(names, contents), max_size=3), expiry=st.integers(), session=st.text(max_size=8))
def test_sessions_of_every_kind(
    worn_server: Server, uploads: list[tuple[str, bytes]], expiry: int, session: str
) -> None:
    answer = ask(
        worn_server, "PUT", "/session/", params={"expiry": expiry}, files=[("files", upload) for upload in uploads]
    )
    if answer.ok:
        session = answer.json()["session_id"]
        click = json.dumps({"foreground": [[1, 1, 0]]})
        ask(worn_server, "POST", "/infer/activefreq", params={"session_id": session}, data={"params": click})
    for method in ("GET", "DELETE"):
        ask(worn_server, method, f"/session/{quote(session, safe='')}")
    ask(worn_server, "POST", "/infer/activefreq", params={"session_id": session, "image": "picture"})


def test_the_servers_own_description(worn_server: Server) -> None:
    """Every operation that the server says that it has, with what it says that it takes."""
    description = schemathesis.openapi.from_url(f"{worn_server.url}/openapi.json")
    operations = [found.ok() for found in description.get_all_operations()]
    names = {f"{operation.method.upper()} {operation.path}" for operation in operations}
    assert {"POST /infer/{model}", "PUT /datastore/label", "PUT /session/", "PUT /activefreq/label"} <= names
    assert len(names) > 20
    for operation in operations:

        @settings(bounded, max_examples=15)
        @given(case=operation.as_strategy())
        def check(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=[not_a_server_error], timeout=120)

        check()
        assert requests.get(f"{worn_server.url}/info/", timeout=120).ok, operation
