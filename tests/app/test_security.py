"""What a client could do to MONAI Label's server, and cannot do to this one."""

from __future__ import annotations

import io
import json
import socket
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests
from server import Server

from activefreq.models.checkpoint import checkpoint_hash

pytestmark = pytest.mark.server

CLICK = {"params": json.dumps({"foreground": [[1, 1, 0]]})}


def ask(server: Server, method: str, path: str, **arguments: Any) -> requests.Response:
    answer = requests.request(method, server.url + path, timeout=120, **arguments)
    assert requests.get(f"{server.url}/info/", timeout=120).ok
    return answer


@pytest.fixture
def secret(worn_server: Server) -> Path:
    """An image outside the studies."""
    path = worn_server.output.parent / "secret.png"
    path.write_bytes((Path(worn_server.studies) / "picture.png").read_bytes())
    return path


@pytest.fixture
def everything(worn_server: Server) -> set[Path]:
    """All files that there are."""
    return files(worn_server)


def files(server: Server) -> set[Path]:
    """But for the one that is being written; it will be the index of the studies."""
    found = server.output.parent.rglob("*")
    return {path for path in found if not any(part.startswith(".writing-") for part in path.parts)}


@pytest.mark.parametrize("kind", ["absolute", "relative", "bare"])
def test_nothing_outside_the_studies_is_read(worn_server: Server, secret: Path, kind: str) -> None:
    image = {"absolute": str(secret), "relative": "../secret.png", "bare": "../secret"}[kind]
    reading = [
        ("POST", f"/infer/activefreq?image={quote(image)}"),
        ("POST", f"/infer/activefreq_auto?image={quote(image)}"),
        ("POST", f"/infer/activefreq_regions?image={quote(image)}"),
        ("GET", f"/datastore/image?image={quote(image)}"),
        ("GET", f"/datastore/image/info?image={quote(image)}"),
        ("GET", f"/datastore/label?label={quote(image)}&tag=final"),
        ("GET", f"/datastore/label?label=picture&tag={quote('../..')}"),
        ("POST", f"/infer/activefreq?session_id={quote(image)}"),
        ("GET", f"/session/{quote(image, safe='')}"),
    ]
    for method, path in reading:
        answer = ask(worn_server, method, path)
        # Notes to what is not there are none; all else is not found.
        nothing = path.startswith("/datastore/image/info") and answer.status_code == 200 and answer.json() == {}
        assert answer.status_code == 404 or nothing, (path, answer.status_code, answer.text)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("x.nrrd", "NRRD0004\n# a\v\vb\ntype: uint8\ndimension: 2\nsizes: 4 2\nencoding: raw\ndata file: {secret}\n\n"),
        (
            "x.mha",
            "ObjectType = Image\nNDims = 2\nDimSize = 4 2\nElementType = MET_UCHAR\nElementDataFile : {secret}\n",
        ),
        ("x.h5", "\x89HDF\r\n"),
    ],
)
def test_an_upload_has_no_other_file_read(worn_server: Server, secret: Path, name: str, header: str) -> None:
    """As an image, a previous mask, and an image of a session."""
    upload = (name, header.format(secret=secret).encode("latin-1"))
    session = ask(worn_server, "PUT", "/session/", files={"files": upload}).json()["session_id"]
    asking: list[tuple[str, dict[str, Any]]] = [
        ("/infer/activefreq", {"file": upload}),
        ("/infer/activefreq?image=picture", {"label": upload}),
        (f"/infer/activefreq?session_id={session}", {}),
    ]
    for path, files_of_it in asking:
        answer = ask(worn_server, "POST", path, data=CLICK, files=files_of_it or None)
        assert answer.status_code == 422, (path, answer.status_code, answer.text)


def test_a_session_cannot_be_made_up(worn_server: Server, secret: Path) -> None:
    """Of several uploaded files one could be the description of another session, with any image."""
    made_up = json.dumps({"name": "x", "path": "x", "image": str(secret), "expiry": 0}).encode()
    uploads = [("files", ("meta.info", made_up)), ("files", ("other.png", b""))]
    assert ask(worn_server, "PUT", "/session/", files=uploads).status_code == 422
    folder = worn_server.output.parent / "sessions" / "real" / "inner"
    folder.mkdir(parents=True)
    (folder / "meta.info").write_bytes(made_up)
    (folder.parent / "meta.info").write_bytes(made_up)
    answer = ask(worn_server, "POST", "/infer/activefreq?session_id=real/inner", data=CLICK)
    assert (answer.status_code, "there is no session" in answer.text) == (404, True)
    assert ask(worn_server, "POST", "/infer/activefreq?session_id=real", data=CLICK).ok


@pytest.mark.parametrize("name", ["../outside", "../../outside", "/tmp/activefreq_outside", "a/b", ".."])
def test_nothing_outside_the_studies_is_written(
    worn_server: Server, secret: Path, everything: set[Path], name: str
) -> None:
    content = secret.read_bytes()
    for path, query, field in (
        ("/datastore/label", {"image": "picture", "tag": name}, "label"),
        ("/datastore/label", {"image": name, "tag": "final"}, "label"),
        ("/datastore/image", {"image": name}, "file"),
        ("/datastore/", {"image": name}, "file"),
    ):
        answer = ask(worn_server, "PUT", path, params=query, files={field: ("x.png", content)})
        assert answer.status_code in (404, 422), answer.text
    assert ask(worn_server, "DELETE", "/datastore/image", params={"id": name}).status_code == 404
    ask(worn_server, "DELETE", "/datastore/label", params={"id": name, "tag": "final"})
    ask(worn_server, "DELETE", "/datastore/label", params={"id": "picture", "tag": name})
    assert ask(worn_server, "PUT", f"/activefreq/label?image={quote(name)}", data=b"").status_code == 404
    assert files(worn_server) == everything
    assert secret.read_bytes() == content
    assert not Path("/tmp/activefreq_outside.png").exists()


def test_an_archive_is_not_unpacked(worn_server: Server, everything: set[Path]) -> None:
    """Python's tar files may name what lies anywhere."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("../../outside.txt")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"hello"))
    answer = ask(worn_server, "PUT", "/session/?uncompress=true", files={"files": ("x.tar.gz", packed.getvalue())})
    assert (answer.status_code, "archives are not unpacked" in answer.text) == (422, True)
    assert files(worn_server) == everything


@pytest.mark.parametrize("name", ["image", "model", "session", "bundle_path"])
def test_params_override_nothing(worn_server: Server, secret: Path, name: str) -> None:
    """A `bundle_path` would be searched for modules by the process that trains."""
    # Other tests of this server may have begun trainings, which it remembers when they have ended.
    before = [task["id"] for task in worn_server.tasks("train")]
    params = {name: str(secret)}
    asking = [("/infer/activefreq?image=picture", {"data": {"params": json.dumps(params)}})]
    paths = ("/train/activefreq", "/train/", "/scoring/acselect", "/scoring/", "/activelearning/random")
    asking += [(path, {"json": body}) for path in paths for body in (params, {"activefreq": params})]
    for path, arguments in asking:
        answer = ask(worn_server, "POST", path, **arguments)
        assert (answer.status_code, f"params must not set '{name}'" in answer.text) == (422, True), (path, answer.text)
    assert [task["id"] for task in worn_server.tasks("train")] == before, "a training was begun"


def test_the_weights_and_the_app_are_not_to_be_replaced(worn_server: Server, tiny_checkpoint: Path) -> None:
    before = checkpoint_hash(tiny_checkpoint)
    upload = {"file": ("model.pt", b"other weights")}
    assert ask(worn_server, "PUT", "/model/activefreq", files=upload).status_code == 405
    assert ask(worn_server, "DELETE", "/model/activefreq").status_code == 405
    assert ask(worn_server, "GET", "/model/activefreq").content == tiny_checkpoint.read_bytes()
    assert checkpoint_hash(tiny_checkpoint) == before
    for path in ("/reload", "/batch/infer/activefreq", "/infer/wsi/activefreq", "/infer/wsi_v2/activefreq"):
        assert ask(worn_server, "POST", path).status_code == 404
    # The studies are a folder: there is no server to pass anything on to.
    assert ask(worn_server, "GET", "/proxy/dicom/wado/studies").status_code == 404


@pytest.mark.parametrize("note", ['{"a": NaN}', '{"a": "\\ud800"}', '{"strategy": 5}'])
def test_a_note_cannot_spoil_what_is_told_to_others(worn_server: Server, note: str) -> None:
    query = {"image": "volume"}
    assert ask(worn_server, "PUT", "/datastore/image/info", params=query, data={"info": note}).status_code == 422
    for path in ("/datastore/?output=all", "/datastore/image/info?image=volume"):
        assert ask(worn_server, "GET", path).ok
    assert ask(worn_server, "POST", "/activelearning/first", json={}).ok


@pytest.mark.parametrize("path", ["/info/", "/datastore/image?image=picture", "/ohif/", "/ohif/app-config.js"])
def test_a_page_from_elsewhere_reads_nothing(worn_server: Server, path: str) -> None:
    assert (
        requests.get(worn_server.url + path, headers={"Origin": "http://evil.example"}, timeout=60).status_code == 403
    )
    assert requests.get(worn_server.url + path, headers={"Origin": worn_server.url}, timeout=60).ok


def test_a_folder_is_no_file(worn_server: Server) -> None:
    uploads = [("files", (name, b"x")) for name in ("one.dcm", "two.dcm")]
    session = ask(worn_server, "PUT", "/session/", files=uploads).json()["session_id"]
    assert ask(worn_server, "GET", f"/session/{session}?image=true").status_code == 404
    assert ask(worn_server, "GET", "/ohif/assets").status_code == 404


def by_headers(server: Server, path: str, *headers: str) -> bytes:
    """The answer to a request of which only the headers are sent."""
    address = urlsplit(server.url)
    lines = [f"PUT {path} HTTP/1.1", f"Host: {address.netloc}", *headers, "", ""]
    with socket.create_connection((str(address.hostname), address.port), timeout=60) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return connection.recv(4096)


@pytest.mark.parametrize("path", ["/datastore/label?image=picture", "/datastore/image", "/session/"])
def test_too_large_an_upload_is_refused_before_it_is_sent(
    worn_server: Server, everything: set[Path], path: str
) -> None:
    """The server of these tests takes 1 MB."""
    form = "Content-Type: multipart/form-data; boundary=x"
    assert by_headers(worn_server, path, form, "Content-Length: 1048577").startswith(b"HTTP/1.1 413 ")
    assert by_headers(worn_server, path, form, "Transfer-Encoding: chunked").startswith(b"HTTP/1.1 411 ")
    assert files(worn_server) == everything
    assert by_headers(worn_server, "/activefreq/label?image=picture", "Content-Length: 1048577").startswith(
        b"HTTP/1.1 413 "
    )


def test_an_image_that_is_too_large_is_refused_by_its_header(worn_server: Server) -> None:
    path = Path(worn_server.studies) / "large.nrrd"
    path.write_bytes(
        b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2000 2000 200\nendian: little\nencoding: raw\n\n" + bytes(9)
    )
    for _ in range(600):
        answer = ask(worn_server, "POST", "/infer/activefreq?image=large", data=CLICK)
        if answer.status_code != 404:  # until the server has seen the file
            break
    path.unlink()
    message = "large.nrrd: its 800000000 voxels are more than the limit of 400000000"
    assert (answer.status_code, message in answer.text) == (422, True), answer.text
