"""Files that come with a request, and those that are made for its answer alone.

MONAI Label's own endpoints note what is to be removed only when it is whole: where a disk fills up, their halves fill
it for good.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from fastapi import HTTPException, UploadFile
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.utils.app import app_instance
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

logger = logging.getLogger(__name__)


def copy_upload(file: UploadFile, target: Path) -> Path:
    """Copies an uploaded file, and returns where it is: at `target` with the endings of its own name."""
    path = target.with_name(target.name + _endings(file))
    _copy(file, path)
    return path


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is gone when the block ends, however it ends."""
    with tempfile.TemporaryDirectory(prefix="activefreq-") as folder:
        yield Path(folder)


def save_image(*, file: UploadFile, image: str | None, params: str, user: Any, **_: Any) -> dict[str, Any]:
    """Adds an uploaded image to the studies, in place of MONAI Label's `api_add_image`."""
    name = image or PurePosixPath(file.filename or "").name.replace(_endings(file), "")
    logger.info("Adding an image %r", name)
    with temporary_folder() as folder:
        path = copy_upload(file, folder / "image")
        return {"image": app_instance().datastore().add_image(name, str(path), _notes(params, user))}


def save_label(*, label: UploadFile, image: str, params: str, tag: str, **_: Any) -> dict[str, Any]:
    """Saves an uploaded label of an image, in place of MONAI Label's `api_save_label`."""
    app = app_instance()
    logger.info("Saving a label of %r for the tag %r", image, tag)
    with temporary_folder() as folder:
        path = copy_upload(label, folder / "label")
        told = json.loads(params or "{}")
        saved = app.datastore().save_label(image, str(path), tag or DefaultLabelTag.FINAL.value, told)
    return {**(app.on_save_label(image, saved) or {}), "image": image, "label": saved}


def create_session(*, files: list[UploadFile], expiry: int, **_: Any) -> dict[str, Any]:
    """Keeps an uploaded image, of one file or several, in place of MONAI Label's `api_create_session`."""
    sessions = app_instance().sessions()
    if sessions is None:
        raise HTTPException(406, "this server takes no images of one's own (MONAI_LABEL_SESSIONS)")
    with temporary_folder() as folder:
        image = folder / "images"
        image.mkdir()
        for file in files:
            path = image / PurePosixPath(file.filename or "image").name
            _copy(file, path)
        name, session = sessions.add_session(str(path if len(files) == 1 else image), expiry)
    return {"session_id": name, "session_info": session.to_json()}


def pack_dataset(*, limit_cases: int | None, **_: Any) -> FileResponse:
    """An archive of the images that have a label, with these, in place of MONAI Label's `api_download_dataset`."""
    path = Path(app_instance().datastore().get_dataset_archive(limit_cases))
    return sent_and_removed(path, "application/zip", name="dataset.zip")


def sent_and_removed(path: Path, kind: str, *, name: str = "") -> FileResponse:
    """An answer with a file, by its own name or another."""
    gone = BackgroundTask(path.unlink, missing_ok=True)
    return FileResponse(path, media_type=kind, filename=name or path.name, background=gone)


def _endings(file: UploadFile) -> str:
    return "".join(PurePosixPath(file.filename or "upload.nii.gz").suffixes)


def _copy(file: UploadFile, path: Path) -> None:
    with path.open("wb") as copy:
        shutil.copyfileobj(file.file, copy)


def _notes(params: str, user: Any) -> dict[str, Any]:
    """What is kept with an image."""
    name = getattr(user, "username", None)
    return {**json.loads(params or "{}"), **({"user": name} if name else {})}
