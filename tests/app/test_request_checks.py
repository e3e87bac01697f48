from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
from typing import Any

import pytest
from fastapi import HTTPException
from starlette.datastructures import Headers, UploadFile
from starlette.requests import Request

from lib.request_checks import (
    JSON_BYTES,
    RESERVED,
    TASK_BYTES,
    Door,
    check_arguments,
    check_entries,
    check_json,
    check_session,
    own_names,
    parse_object,
)


def refusal(action: Any) -> tuple[int, str]:
    with pytest.raises(HTTPException) as caught:
        action()
    caught.value.detail.encode()  # what is said can be sent
    return caught.value.status_code, caught.value.detail


@pytest.mark.parametrize(
    ("text", "value"), [("", {}), ("{}", {}), ('{"é": [1, 2.5, null, "x"]}', {"é": [1, 2.5, None, "x"]})]
)
def test_an_object_is_read(text: str, value: dict[str, Any]) -> None:
    assert parse_object("notes", text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "notes is not JSON"),
        ("[" * 100_000, "notes is not JSON"),
        ("[1, 2]", "notes must be a JSON object, not '[1, 2]'"),
        ("null", "notes must be a JSON object"),
        ('{"a": NaN}', "notes is not JSON: NaN is no number of JSON"),
        ('{"a": [-Infinity]}', "notes is not JSON: -Infinity is no number of JSON"),
        ('{"a": [{"b": 1e999}]}', "notes holds inf, which is no number of JSON"),
        ('{"a": "\\ud800"}', "notes holds text that is not Unicode"),
        ('{"\\udfff": 1}', "notes holds text that is not Unicode"),
        ('{"a": ' + "[" * 40 + "]" * 40 + "}", "notes is nested more than 32 deep"),
    ],
)
def test_what_could_not_be_told_again_is_refused(text: str, message: str) -> None:
    status, detail = refusal(lambda: parse_object("notes", text))
    assert (status, detail.startswith(message)) == (422, True), detail


def test_what_fastapi_has_parsed_is_checked_too() -> None:
    assert refusal(lambda: check_json("params", {"a": [float("nan")]}))[0] == 422


@pytest.mark.parametrize("name", RESERVED)
def test_params_of_a_task_cannot_say_what_the_address_says(name: str) -> None:
    for params in ({name: "x"}, {"activefreq": {name: "x"}}):
        status, detail = refusal(lambda params=params: check_arguments({"params": params}, of_task=True))
        assert (status, repr(name) in detail) == (422, True)
    # Notes may say what they like: Slicer names the model with a label.
    check_arguments({"params": f'{{"{name}": "x"}}'}, of_task=False)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({"params": {"gpus": 3}}, 422),
        ({"params": {"client_id": "x" * 65}}, 422),
        ({"params": {"activefreq": {"client_id": ["x" * 65]}}}, 422),
        ({"params": {"tracking_uri": "file:///tmp/runs"}}, 422),
        ({"params": {"tracking_uri": "sqlite:////tmp/x.db"}}, 422),
        ({"params": {"tracking_uri": ["http://x"]}}, 422),
        ({"uncompress": True}, 422),
        ({"check_sum": "MD4:00"}, 422),
        ({"lines": 1 << 70}, 422),
        ({"session_id": "../x"}, 404),
        ({"image": "a\n[2026-01-01] INFO: all is well"}, 422),
        ({"id": "a\r"}, 422),
        ({"label": "a\u2028b"}, 422),
        ({"tag": "\x1b[2J"}, 422),
    ],
)
def test_arguments_that_do_harm_are_refused(arguments: dict[str, Any], status: int) -> None:
    assert refusal(lambda: check_arguments(arguments, of_task=True))[0] == status


def test_usual_arguments_are_let_through() -> None:
    usual = {"params": {"gpus": "all", "tracking_uri": "http://mlflow:5000", "max_epochs": 3}, "uncompress": False}
    usual |= {
        "check_sum": "SHA256:00",
        "lines": 300,
        "session_id": "4f-a_1",
        "image": "../x",
        "user": None,
        "info": "{}",
    }
    check_arguments(
        {**usual, "files": [upload("image.nii.gz"), upload("DICOM/IM0001"), upload("été 1.png")]}, of_task=True
    )
    check_arguments({"params": None, "session_id": ""}, of_task=True)


@pytest.mark.parametrize("filler", ["a", "é"])
def test_parameters_that_are_let_through_fit_into_an_argument_of_a_process(filler: str) -> None:
    def params(length: int) -> dict[str, Any]:
        empty = len(json.dumps({"acselect": {"x": ""}}))
        return {"acselect": {"x": filler * ((length - empty) // (len(json.dumps(filler)) - 2))}}

    longest = params(TASK_BYTES)
    check_arguments({"params": longest}, of_task=True)
    # What MONAI Label makes of them, when it asks all tasks at once.
    argument = json.dumps({"method": "acselect", **longest["acselect"], **longest, "gpus": "all"})
    assert subprocess.run([sys.executable, "-c", "", argument], check=True).returncode == 0
    assert refusal(lambda: check_arguments({"params": params(TASK_BYTES + 6)}, of_task=True))[0] == 413


@pytest.mark.parametrize("value", ["x", 5, [1], True, ""])
def test_what_is_said_for_one_task_is_an_object(value: Any) -> None:
    status, detail = refusal(lambda: check_entries({"activefreq": value}, {"activefreq": None}))
    assert (status, "'activefreq'" in detail) == (422, True)
    check_entries({"max_epochs": value, "activefreq": None}, {"activefreq": None})
    check_entries({"activefreq": {"max_epochs": value}}, ["activefreq"])
    check_entries(None, ["activefreq"])


def upload(name: str) -> UploadFile:
    return UploadFile(io.BytesIO(), filename=name)


@pytest.mark.parametrize(
    "name", ["..", "a/..", ".", "meta.info", "a/meta.info", "a\0.png", "a\n.png", "x" * 201, "é" * 101]
)
def test_file_names_that_cannot_be_used_are_refused(name: str) -> None:
    assert refusal(lambda: check_arguments({"file": upload(name)}, of_task=False))[0] == 422
    assert refusal(lambda: check_arguments({"files": [upload("a.png"), upload(name)]}, of_task=False))[0] == 422


@pytest.mark.parametrize("name", ["a.mhd", "a.NHDR", "b/a.b.mhd"])
def test_headers_without_their_voxels_are_refused(name: str) -> None:
    status, reason = refusal(lambda: check_arguments({"file": upload(name)}, of_task=False))
    assert (status, "voxels are in another file" in reason) == (422, True)


@pytest.mark.parametrize("name", ["", "a/b", "..", ".", "a.b", "x" * 65, "é", "a\n"])
def test_what_is_no_name_of_a_session_is_refused(name: str) -> None:
    assert refusal(lambda: check_session(name))[0] == 404


def request(**headers: str) -> Request:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request({"type": "http", "headers": Headers(names).raw})


def test_a_body_is_refused_by_its_length() -> None:
    form = "multipart/form-data; boundary=x"
    Door(1000).check(request(content_length="1000", content_type=form), takes_files=True)
    Door(1).check(request(content_length=str(JSON_BYTES), content_type="application/json"), takes_files=True)
    Door(1, other_bytes=900).check(request(content_length="900"), takes_files=False)
    Door(0).check(request(), takes_files=False)
    for status, headers in (
        (413, {"content_length": "1001", "content_type": form}),
        (413, {"content_length": str(JSON_BYTES + 1), "content_type": "application/json"}),
        (413, {"content_length": str(JSON_BYTES + 1)}),
        (411, {"transfer_encoding": "chunked", "content_type": form}),
    ):
        assert refusal(lambda headers=headers: Door(1000).check(request(**headers), takes_files=True))[0] == status


def test_what_is_sent_as_a_form_to_a_route_without_one_is_no_upload() -> None:
    large = request(content_length=str(JSON_BYTES + 1), content_type="multipart/form-data; boundary=x")
    Door(1 << 30).check(large, takes_files=True)
    assert refusal(lambda: Door(1 << 30).check(large, takes_files=False))[0] == 413


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "127.0.0.1:8000", "10.1.2.3", "[::1]:8000", "MRI-Box:8000", "viewer.example", ""],
)
def test_the_server_answers_to_its_names(host: str) -> None:
    door = Door(1, origins=frozenset({"https://viewer.example"}), names=frozenset({"mri-box"}))
    door.check(request(host=host), takes_files=False)


@pytest.mark.parametrize("host", ["evil.example:8000", "evil.example", "127.0.0.1.evil.example", "[::1", "x" * 500])
def test_a_name_that_leads_here_is_none_of_the_servers(host: str) -> None:
    """DNS rebinding: the page is of http://evil.example:8000, and so is what it asks for."""
    door = Door(1, names=frozenset({"mri-box"}))
    assert refusal(lambda: door.check(request(host=host, origin=f"http://{host}"), takes_files=False))[0] == 403
    assert refusal(lambda: door.check(request(host=host), takes_files=False))[0] == 403
    Door(1, origins=frozenset({"*"})).check(request(host=host), takes_files=False)


def test_this_computers_name_is_one() -> None:
    assert socket.gethostname().lower() in own_names()


def test_pages_from_elsewhere_are_refused() -> None:
    """A browser says where a page is from; Slicer and scripts say nothing."""
    here = {"host": "127.0.0.1:8000"}
    Door(1).check(request(**here), takes_files=False)
    Door(1).check(request(**here, origin="http://127.0.0.1:8000"), takes_files=False)
    for origins in ({"https://viewer.example"}, {"*"}):
        door = Door(1, origins=frozenset(origins))
        door.check(request(**here, origin="https://viewer.example"), takes_files=False)
    for origin in ("http://evil.example", "http://127.0.0.1", "http://127.0.0.1:8001", "null", "", "http://[", "x"):
        assert refusal(lambda origin=origin: Door(1).check(request(**here, origin=origin), takes_files=False))[0] == 403
    assert refusal(lambda: Door(1).check(request(origin=""), takes_files=False))[0] == 403


@pytest.mark.parametrize("gpus", ["all", "", "0", "0,1", "0,1,15"])
def test_gpus_are_numbers_or_all(gpus: str) -> None:
    check_arguments({"params": {"gpus": gpus}}, of_task=True)


@pytest.mark.parametrize("gpus", ["\0", "0\0", "0,", ",0", "1 2", "-1", "all,0", "--help", "٣"])
def test_gpus_that_are_none_are_refused(gpus: str) -> None:
    assert refusal(lambda: check_arguments({"params": {"gpus": gpus}}, of_task=True))[0] == 422


def test_parameters_that_no_process_can_be_started_with_are_refused() -> None:
    assert refusal(lambda: check_arguments({"params": {"a": "x" * 70_000}}, of_task=True))[0] == 413
    assert refusal(lambda: check_arguments({"params": {"a": "x\0y"}}, of_task=True))[0] == 422
    check_arguments({"params": {"a": "x" * 30_000}}, of_task=True)
