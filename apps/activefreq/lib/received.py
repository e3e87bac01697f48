"""Files that come with a request."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

from fastapi import UploadFile


def copy_upload(file: UploadFile, target: Path) -> Path:
    """Copies an uploaded file, and returns where it is: at `target` with the endings of its own name."""
    path = target.with_name(target.name + "".join(PurePosixPath(file.filename or "upload.nii.gz").suffixes))
    with path.open("wb") as copy:
        shutil.copyfileobj(file.file, copy)
    return path
