"""Uploads and archives: what is saved, and that nothing stays behind, also where the disk is full."""

from __future__ import annotations

import errno
import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from synthetic import rgb_blob, write_picture

import lib.inference
import lib.received
from lib.request_checks import Door
from lib.routes import serve_routes
from lib.studies import StudiesFolder
from lib.uploads import Uploads


@pytest.fixture
def app(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    studies = tmp_path / "studies"
    studies.mkdir()
    for number in range(2):
        write_picture(studies / f"p{number}.png", rgb_blob(number)[0])
    store, sessions = StudiesFolder(str(studies), auto_reload=False), Uploads(str(tmp_path / "sessions"))
    app = SimpleNamespace(datastore=lambda: store, sessions=lambda: sessions, on_save_label=lambda *_: None)
    for module in (lib.received, lib.inference):
        monkeypatch.setattr(module, "app_instance", lambda: app)
    return app


@pytest.fixture
def client(app: SimpleNamespace) -> Iterator[TestClient]:
    server = FastAPI()
    serve_routes(server, door=Door(upload_bytes=1 << 20), dicomweb=False)
    with TestClient(server, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def picture(app: SimpleNamespace) -> bytes:
    return Path(app.datastore().get_image_uri("p0")).read_bytes()


def test_uploads_are_kept_where_they_belong(
    app: SimpleNamespace, client: TestClient, picture: bytes, temporary: Path
) -> None:
    store = app.datastore()
    added = client.put("/datastore/image", files={"file": ("new.png", picture)}, data={"params": '{"age": 5}'})
    assert added.json() == {"image": "new"}
    assert client.put("/datastore/image?image=other", files={"file": ("new.png", picture)}).json() == {"image": "other"}
    assert Path(store.get_image_uri("new")).read_bytes() == picture
    assert (store.get_image_info("new")["age"], store.get_image_info("new")["user"]) == (5, "admin")
    saved = client.put(
        "/datastore/label?image=new&tag=", files={"label": ("m.png", picture)}, data={"params": '{"a": 1}'}
    )
    assert saved.json() == {"image": "new", "label": "new"}
    assert Path(store.get_label_uri("new", "final")).read_bytes() == picture
    assert store.get_label_info("new", "final")["a"] == 1
    assert client.put("/datastore/image?image=p1", files={"file": ("new.png", picture)}).status_code == 409
    assert client.put("/datastore/label?image=none", files={"label": ("m.png", picture)}).status_code == 404
    assert list(temporary.iterdir()) == []


def test_sessions_hold_a_file_or_a_folder_of_several(
    app: SimpleNamespace, client: TestClient, picture: bytes, temporary: Path
) -> None:
    one = client.put("/session/?expiry=70", files={"files": ("a.png", picture)}).json()
    session = app.sessions().get_session(one["session_id"])
    assert (Path(session.image).name, session.expiry, session.to_json()["path"]) == (
        "a.png",
        70,
        one["session_info"]["path"],
    )
    assert Path(session.image).read_bytes() == picture
    files = [("files", (f"dicom/{name}.dcm", name.encode())) for name in ("a", "b")]
    several = client.put("/session/", files=files).json()["session_id"]
    folder = Path(app.sessions().get_session(several).image)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a.dcm": b"a", "b.dcm": b"b"}
    assert list(temporary.iterdir()) == []


def test_a_data_set_is_sent_and_not_left_behind(
    app: SimpleNamespace, client: TestClient, picture: bytes, temporary: Path
) -> None:
    assert client.get("/datastore/dataset").status_code == 404
    for number in range(2):
        client.put(f"/datastore/label?image=p{number}", files={"label": ("m.png", picture)})
    for query, count in (("", 2), ("?limit_cases=1", 1), ("?limit_cases=5", 2), ("?limit_cases=-1", 2)):
        answer = client.get(f"/datastore/dataset{query}")
        names = [f"{kind}/p{number}.png" for number in range(count) for kind in ("image", "label")]
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert sorted(archive.namelist()) == sorted([*names, "metadata.json"])
            assert archive.read("label/p0.png") == picture
        assert 'filename="dataset.zip"' in answer.headers["content-disposition"]
        assert list(temporary.iterdir()) == []


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("method", "path", "part"),
    [
        ("PUT", "/datastore/image?image=new", "file"),
        ("PUT", "/datastore/label?image=p0", "label"),
        ("PUT", "/session/", "files"),
        ("POST", "/infer/activefreq", "file"),
        ("POST", "/infer/activefreq?image=p1", "label"),
    ],
)
def test_half_an_upload_is_removed(
    client: TestClient,
    picture: bytes,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    part: str,
) -> None:
    def copy(source: Any, target: Any) -> None:
        target.write(source.read(100))
        full()

    monkeypatch.setattr(shutil, "copyfileobj", copy)
    assert client.request(method, path, files={part: ("n.png", picture)}).status_code == 507
    assert list(temporary.iterdir()) == []


def test_half_an_archive_is_removed(
    client: TestClient, picture: bytes, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.put("/datastore/label?image=p0", files={"label": ("m.png", picture)})
    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    assert client.get("/datastore/dataset").status_code == 507
    assert list(temporary.iterdir()) == []
