"""OHIF's way to the DICOMweb server, with a server that tells what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from monailabel.config import settings

from lib.request_checks import Door
from lib.routes import serve_routes


class Telling(BaseHTTPRequestHandler):
    """Answers with the request; with nothing at all where the path ends in "silence", with a beginning in "pause"."""

    released = threading.Event()

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        told = json.dumps({"path": self.path, "body": body, "headers": dict(self.headers)}).encode()
        if self.path.endswith("silence"):
            self.released.wait(60)
            return
        self.send_response(206)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(told)))
        self.send_header("Set-Cookie", "theirs=1")
        self.end_headers()
        if self.path.endswith("pause"):
            self.wfile.write(told[:5])
            self.released.wait(60)
            return
        self.wfile.write(told)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """Of the app's server, before a DICOMweb server."""
    Telling.released.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Telling) as pacs:
        threading.Thread(target=pacs.serve_forever, daemon=True).start()
        monkeypatch.setattr(settings, "MONAI_LABEL_STUDIES", f"http://127.0.0.1:{pacs.server_port}/root/")
        monkeypatch.setattr(settings, "MONAI_LABEL_WADO_PREFIX", "wado")
        monkeypatch.setattr(settings, "MONAI_LABEL_DICOMWEB_PROXY_TIMEOUT", 0.3)
        api = FastAPI()
        serve_routes(api, door=Door(upload_bytes=1 << 20), dicomweb=True)
        with TestClient(api, base_url="http://localhost", raise_server_exceptions=False) as client:
            yield client
        Telling.released.set()
        pacs.shutdown()


@pytest.mark.parametrize(
    ("asked", "arrives"),
    [
        (
            "qido/studies?limit=25&offset=50&PatientName=M%C3%BCller*&includefield=00081030",
            "/root/studies?limit=25&offset=50&PatientName=M%C3%BCller*&includefield=00081030",
        ),
        ("qido/studies/1.2/series/3.4/metadata", "/root/wado/studies/1.2/series/3.4/metadata"),
        ("wado/studies/1.2/bulkdata?offset=../x", "/root/wado/studies/1.2/bulkdata?offset=../x"),
        ("studies/a%3Fb%20c", "/root/studies/a%3Fb%20c"),
    ],
)
def test_searches_and_paths_arrive_as_they_were_sent(client: TestClient, asked: str, arrives: str) -> None:
    answer = client.get(f"/proxy/dicom/{asked}")
    assert (answer.status_code, answer.json()["path"]) == (206, arrives)
    assert answer.headers["content-type"] == "application/dicom+json"
    assert "set-cookie" not in answer.headers


def test_what_is_posted_arrives_and_says_nothing_of_the_browser(client: TestClient) -> None:
    headers = {"content-type": "multipart/related; boundary=x", "cookie": "ours=1", "origin": "http://localhost"}
    told = client.post("/proxy/dicom/stow/studies", content=b"sent", headers=headers).json()
    assert (told["path"], told["body"]) == ("/root/studies", "sent")
    sent = {name.lower(): value for name, value in told["headers"].items()}
    assert sent["content-type"] == "multipart/related; boundary=x"
    assert not {"cookie", "origin"} & sent.keys()
    assert sent["host"].startswith("127.0.0.1:")


@pytest.mark.parametrize("path", ["silence", "pause"])
def test_a_server_that_hangs_is_given_up(client: TestClient, path: str) -> None:
    answer = client.get(f"/proxy/dicom/qido/{path}")
    assert answer.status_code == 502
    assert "another server does not answer" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["studies/..%2F..%2Ftools", "%2e%2e%2Fsystem", "a/%252e%252E/b", ".%2e%2Fx"])
def test_no_request_leaves_the_dicomweb_root(client: TestClient, path: str) -> None:
    assert client.get(f"/proxy/dicom/{path}").status_code == 404
