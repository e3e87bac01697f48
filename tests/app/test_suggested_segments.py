from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi import HTTPException
from monailabel.endpoints import datastore
from starlette.datastructures import UploadFile

import lib.received
from activefreq.files.grids import Geometry
from activefreq.files.volume_writing import write_mask
from lib.routes import in_thread
from lib.suggested_segments import refuse_suggestions, refuse_uploaded_suggestions, suggested_values

LESION, ADD, REMOVE = "lesion", "suggested_add", "suggested_remove"


def told(*entries: tuple[str, int]) -> dict[str, Any]:
    return {"label_info": [{"name": name, "idx": idx} for name, idx in entries]}


def write_label(folder: Path, *values: int, name: str = "label.nii.gz") -> Path:
    labels = np.zeros((2, 3, 4), np.uint8)
    labels.flat[: len(values)] = values
    write_mask(folder / name, labels, like=Geometry(labels.shape))
    return folder / name


@pytest.mark.parametrize(
    ("info", "values", "found"),
    [
        (told((LESION, 1), (ADD, 2), (REMOVE, 3)), [1, 2, 3], {ADD: 2, REMOVE: 3}),
        (told((LESION, 1), (ADD, 2), (REMOVE, 3)), [1, 3], {REMOVE: 3}),
        (told((LESION, 1), (ADD, 2)), [1], {}),
        (told((ADD, 1), (LESION, 2)), [1, 2], {ADD: 1}),
        (told((LESION, 1), (ADD, 5)), [1, 5], {ADD: 5}),
        (told((ADD, 5)), [1, 5], {ADD: 5}),
        # Slicer, when a segment "background" stands before them.
        (told((LESION, 2), (ADD, 3), (REMOVE, 4)), [1, 2, 3], {ADD: 2, REMOVE: 3}),
        (told((LESION, 2), (ADD, 3)), [1], {}),
        ({"label_info": [{"name": LESION}, {"name": ADD}]}, [1, 2], {ADD: 2}),
        # An inference that saved its own answer.
        ({"model": "activefreq_regions", "params": {"label_names": {REMOVE: 2}}}, [2], {REMOVE: 2}),
        (told((LESION, 1)), [1, 2], {}),
        ({}, [1], {}),
    ],
)
def test_which_values_are_suggestions(info: dict[str, Any], values: list[int], found: dict[str, int]) -> None:
    assert suggested_values(info, values) == found


@pytest.mark.parametrize(
    "info",
    [
        {"label_info": "suggested_add"},
        {"label_info": ["suggested_add", None, {"name": 3, "idx": 1}, {"idx": 1}]},
        {"params": ["label_names"]},
        {"params": {"label_names": [ADD]}},
    ],
)
def test_notes_of_any_kind_are_borne(info: dict[str, Any]) -> None:
    assert suggested_values(info, [1]) == {}


@pytest.mark.parametrize(
    ("values", "segments"),
    [((1, 2, 3), "segments suggested_add and suggested_remove"), ((1, 3), "segment suggested_remove")],
)
def test_a_label_with_suggestions_is_refused_and_says_what_to_do(
    tmp_path: Path, values: tuple[int, ...], segments: str
) -> None:
    label = write_label(tmp_path, *values)
    with pytest.raises(HTTPException) as caught:
        refuse_suggestions(label, told((LESION, 1), (ADD, 2), (REMOVE, 3)))
    assert caught.value.status_code == 422
    assert caught.value.detail.endswith(f"remove the {segments} first, then submit again")
    # Segments that are there but empty do no harm.
    refuse_suggestions(write_label(tmp_path, 1, 1), told((LESION, 1), (ADD, 2), (REMOVE, 3)))


def test_a_label_that_names_suggestions_and_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "label.nrrd").write_bytes(b"a label")
    refuse_suggestions(tmp_path / "label.nrrd", told((LESION, 1)))
    with pytest.raises(HTTPException) as caught:
        refuse_suggestions(tmp_path / "label.nrrd", told((LESION, 1), (ADD, 2)))
    assert caught.value.status_code == 422
    assert str(tmp_path) not in caught.value.detail


@pytest.mark.parametrize("name", ["label.nii.gz", "a.b.nrrd", ""])
def test_an_upload_can_be_read_after_it_was_looked_at(tmp_path: Path, name: str) -> None:
    content = write_label(tmp_path, 1, name=name or "label.nii.gz").read_bytes()
    upload = UploadFile(io.BytesIO(content), filename=name)
    refuse_uploaded_suggestions(upload, told((LESION, 1), (ADD, 2)))
    assert upload.file.read() == content


@pytest.mark.parametrize(("tag", "refused"), [("final", True), ("", True), ("original", False)])
def test_only_what_will_be_learned_is_refused_wherever_it_would_be_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str, refused: bool
) -> None:
    saved: list[str] = []
    store = SimpleNamespace(save_label=lambda image, *_: saved.append(image))
    app = SimpleNamespace(datastore=lambda: store, on_save_label=lambda *_: None)
    monkeypatch.setattr(lib.received, "app_instance", lambda: app)
    label = UploadFile(io.BytesIO(write_label(tmp_path, 1, 2).read_bytes()), filename="label.nii.gz")
    save = in_thread(datastore.api_save_label, of_task=False)
    params = json.dumps({**told((LESION, 1), (ADD, 2)), "model": "activefreq"})
    user = type("User", (), {"username": "anna"})
    arguments = {"background_tasks": None, "image": "one", "params": params, "tag": tag, "label": label, "user": user}
    if refused:
        with pytest.raises(HTTPException) as caught:
            save(**arguments)
        assert caught.value.status_code == 422
    else:
        save(**arguments)
    assert saved == ([] if refused else ["one"])
