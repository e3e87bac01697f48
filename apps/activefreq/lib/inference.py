"""Inference requests.

MONAI Label's own endpoint asks first for all that `/info/` tells, of which it uses nothing here. Where the studies are
on a DICOMweb server, every click would wait for searches of the whole server, and fail while it is away.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from fastapi import File, Form, HTTPException, UploadFile
from monailabel.endpoints.infer import ResultType
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.others.generic import get_mime_type
from requests_toolbelt import MultipartEncoder
from starlette.responses import Response

from lib.dicom_segments import named_segments
from lib.dicom_studies import DicomStudies
from lib.received import copy_upload, sent_and_removed, temporary_folder
from lib.request_checks import check_arguments, check_params, check_session, parse_object

logger = logging.getLogger(__name__)


# Not `async`: such a function runs in a thread, and the server answers others meanwhile.
def run_inference(
    model: str,
    image: str = "",
    session_id: str = "",
    params: str = Form("{}"),
    file: UploadFile = File(None),
    label: UploadFile = File(None),
    output: ResultType | None = None,
) -> Any:
    """Runs a model on an image of the studies, on one that was uploaded before, or on one that comes along."""
    app = app_instance()
    request = {**parse_params(params), "model": model}
    check_arguments({"file": file, "label": label}, of_task=True)
    if label and (label.filename or "").endswith(".bin"):
        raise HTTPException(422, "a previous mask must be an image file that has the grid of its image")
    if output == ResultType.dicom_seg:
        if not isinstance(app.datastore(), DicomStudies):
            raise HTTPException(422, "output=dicom_seg is for studies of a DICOMweb server, which these are not")
        if session_id or file:
            raise HTTPException(422, "output=dicom_seg is for images of the studies, not for uploaded ones")
        named_segments(request)  # before anything is computed
    if session_id:
        # What the address names beside the session would be taken if the session ended meanwhile.
        image, file = "", None
        check_session(session_id)
        sessions = app.sessions()
        session = None if sessions is None else sessions.get_session(session_id)
        if session is None:
            raise HTTPException(404, f"there is no session {session_id!r}; it may have expired")
        request |= {"image": session.image, "session": session.to_json()}
    elif not file:
        if not image:
            raise HTTPException(422, "the request names no image: give image, session_id or file")
        app.datastore().get_image_uri(image)
        request["image"] = image
    with temporary_folder() as folder:
        if file:
            request["image"] = str(copy_upload(file, folder / "image"))
        if label:
            request["label"] = str(copy_upload(label, folder / "label"))
        logger.info("Infer request: %r", request)
        result = app.infer(request)
    mask, facts = Path(result["file"]), result["params"]
    if output != ResultType.dicom_seg:
        return _answer(mask, facts, output)
    try:
        names = [{"name": name, "idx": value} for name, value in facts["label_names"].items()]
        file = app.datastore().make_segmentation(image, str(mask), {"label_info": request.get("label_info") or names})
    finally:
        mask.unlink(missing_ok=True)
    return sent_and_removed(file, "application/dicom")


def parse_params(params: str) -> dict[str, Any]:
    """The `params` of a request. A `label` in them is the name of a structure; it would hide an uploaded mask.

    Raises:
        HTTPException: 422 if they are no JSON object, or set what is not theirs to set.
    """
    parsed = parse_object("params", params)
    check_params(parsed)
    parsed.pop("label", None)
    return parsed


def _answer(mask: Path, facts: dict[str, Any], output: ResultType | None) -> Any:
    """What is sent of a mask, whose file is removed then, and of the facts about it."""
    if output == ResultType.image:
        return sent_and_removed(mask, get_mime_type(str(mask)))
    try:
        if output == ResultType.json:
            return facts
        fields = {
            "params": (None, json.dumps(facts), "application/json"),
            "image": (mask.name, mask.read_bytes(), get_mime_type(str(mask))),
        }
    finally:
        mask.unlink(missing_ok=True)
    parts = MultipartEncoder(fields=fields)
    return Response(parts.to_string(), media_type=parts.content_type)
