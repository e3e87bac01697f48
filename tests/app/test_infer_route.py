"""Inference requests, against a DICOMweb server in memory."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicomweb_in_memory import DicomWebInMemory, scan
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response

import lib.answer_file
import lib.inference
import main
from activefreq.files.volume_writing import write_mask
from activefreq.files.volumes import read_label_volume
from lib.dicom_studies import DicomStudies
from lib.request_checks import Door
from lib.routes import serve_routes

CLICK = {"foreground": [[6, 5, 3]]}


@pytest.fixture
def server() -> DicomWebInMemory:
    return DicomWebInMemory()


@pytest.fixture
def app(
    server: DicomWebInMemory, temporary: Path, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> main.ActiveFreqApp:
    studies = DicomStudies(server, tmp_path / "downloads", filters=[{"Modality": "MR"}], list_seconds=3600.0)  # type: ignore[arg-type]
    monkeypatch.setattr(main, "open_dicomweb", lambda url: studies)
    conf = {"checkpoint": str(tiny_checkpoint), "device": "cpu", "finetuned": str(tmp_path / "finetuned")}
    app = main.ActiveFreqApp(str(tmp_path), "http://dicomweb.test", conf)
    monkeypatch.setattr(lib.inference, "app_instance", lambda: app)
    return app


@pytest.fixture
def client(app: main.ActiveFreqApp) -> Iterator[TestClient]:
    api = FastAPI()
    serve_routes(api, door=Door(upload_bytes=1 << 20), dicomweb=True)
    with TestClient(api, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


def click(client: TestClient, image: str, output: str = "json", **params: object) -> Response:
    data = {"params": json.dumps({**CLICK, **params})}
    return client.post("/infer/activefreq", params={"image": image, "output": output}, data=data)


def test_clicks_on_what_is_here_ask_the_dicomweb_server_for_nothing(server, app, client):
    image = server.add(scan(1)[0], "scan")
    assert click(client, image).status_code == 200
    asked = server.calls.total()
    server.down = True
    assert click(client, image).json()["clicks"] == [[6, 5, 3, 1]]
    assert server.calls.total() == asked
    # Whether the series has grown, which is asked once, and waits for no list.
    app.datastore().forget_lists()
    for _ in range(3):
        assert click(client, image).status_code == 200
    assert server.calls.total() == asked + 1


def test_a_mask_is_answered_in_every_form_and_nothing_is_left(server, client, temporary):
    image = server.add(scan(1)[0], "scan")
    facts = click(client, image).json()
    assert [one["k"] for one in facts["slices"]] == [3]
    alone = click(client, image, "image")
    (temporary.parent / "mask.nrrd").write_bytes(alone.content)
    mask = read_label_volume(temporary.parent / "mask.nrrd").array
    assert np.count_nonzero(mask) == facts["slices"][0]["pixels"]
    both = click(client, image, "all")
    assert both.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'"label_names": {"lesion": 1}' in both.content
    assert alone.content in both.content
    assert list(temporary.iterdir()) == []


def test_what_comes_with_a_request_goes_with_it(server, client, temporary):
    image = server.add(scan(1)[0], "scan")
    content = click(client, image, "image").content
    for query, files, status in (
        ({"image": image}, {"label": ("mask.nrrd", content)}, 200),
        ({}, {"file": ("scan.nrrd", content)}, 200),
        ({}, {"file": ("scan.nrrd", b"nothing")}, 422),
        ({"image": image}, {"label": ("mask.nrrd", b"nothing")}, 422),
    ):
        answer = client.post(
            "/infer/activefreq", params={**query, "output": "json"}, files=files, data={"params": json.dumps(CLICK)}
        )
        assert answer.status_code == status, answer.text
        assert list(temporary.iterdir()) == []


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every click mark the whole of its slice: of what the tiny network marks, nothing is sure."""

    def mark(path: Path, array: np.ndarray, **options: Any) -> None:
        array = array.copy()
        array[3] = 1
        write_mask(path, array, **options)

    monkeypatch.setattr(lib.answer_file, "write_mask", mark)


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({}, "lesion"),
        ({"label_info": [{"name": "cyst", "idx": 1, "color": "x"}]}, "cyst"),
        ({"label_info": [{"idx": 1}]}, "label 1"),
        ({"label_info": [{"name": "cyst", "idx": 1}], "result_extension": ".nii.gz"}, "cyst"),
    ],
)
def test_a_mask_is_answered_as_dicom_seg_and_nothing_is_left(server, client, temporary, everywhere, params, name):
    image = server.add(scan(1)[0], "scan")
    answer = click(client, image, "dicom_seg", **params)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom")
    segmentation = pydicom.dcmread(io.BytesIO(answer.content))
    (segment,) = segmentation.SegmentSequence
    assert segment.SegmentLabel == name
    assert segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID == image
    assert segmentation.pixel_array.all()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("told", ["x", {"a": 1}, [5], 7, [{"idx": "x"}]])
def test_names_of_segments_that_cannot_be_read_are_told_before_anything_is_computed(server, client, temporary, told):
    answer = click(client, "nobody asks for it", "dicom_seg", label_info=told)
    assert (answer.status_code, "label_info must be a list" in answer.json()["detail"]) == (422, True)
    assert list(temporary.iterdir()) == []


def test_an_empty_mask_is_no_dicom_seg(server, client, temporary):
    answer = click(client, server.add(scan(1)[0], "scan"), "dicom_seg", foreground=[])
    assert (answer.status_code, "the label is empty" in answer.json()["detail"]) == (422, True)
    assert list(temporary.iterdir()) == []


def test_an_uploaded_image_gets_no_dicom_seg(client, temporary):
    answer = client.post("/infer/activefreq", params={"output": "dicom_seg"}, files={"file": ("a.nrrd", b"")})
    assert (answer.status_code, "not for uploaded ones" in answer.json()["detail"]) == (422, True)
