from __future__ import annotations

import pytest
from trainees import Picture, blob_pictures


@pytest.fixture(scope="session")
def blobs() -> list[Picture]:
    return blob_pictures(7)
