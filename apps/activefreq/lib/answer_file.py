"""The file that answers an inference request."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from activefreq.files.volume_writing import write_mask
from lib.click_request import ClickRequest
from lib.images import LoadedImage


def write_answer(labels: np.ndarray, image: LoadedImage, request: ClickRequest) -> Path:
    """Writes (K, J, I) bool or uint8 on the image's grid, in the format asked for; the caller removes the file."""
    with tempfile.NamedTemporaryFile(prefix="activefreq-", suffix=request.extension, delete=False) as file:
        path = Path(file.name)
    try:
        write_mask(path, labels, like=image.volume, compress=request.compress)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path
