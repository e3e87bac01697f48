from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import requests
from monailabel.config import settings

from lib.dicom_connection import open_dicomweb
from lib.timeouts import READ_SECONDS, ImpatientAdapter, impatient


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_silent_server_is_given_up(silent: str) -> None:
    with impatient(requests.Session(), read=0.2) as session, pytest.raises(requests.ReadTimeout):
        session.get(silent)


def test_who_says_how_long_is_asked_for_no_longer(silent: str) -> None:
    with impatient(requests.Session(), read=60.0) as session, pytest.raises(requests.ReadTimeout):
        session.get(silent, timeout=0.2)


@pytest.mark.parametrize("chosen", [None, 7.5])
def test_requests_to_a_dicomweb_server_end(monkeypatch: pytest.MonkeyPatch, tmp_path, chosen: float | None) -> None:
    monkeypatch.setattr(settings, "MONAI_LABEL_DICOMWEB_CACHE_PATH", str(tmp_path))
    known = settings.model_fields_set - {"MONAI_LABEL_DICOMWEB_READ_TIMEOUT"}
    if chosen is not None:
        monkeypatch.setattr(settings, "MONAI_LABEL_DICOMWEB_READ_TIMEOUT", chosen)
        known = known | {"MONAI_LABEL_DICOMWEB_READ_TIMEOUT"}
    monkeypatch.setattr(settings, "__pydantic_fields_set__", known)
    for address in ("http://pacs.test/dicom-web", "https://pacs.test/dicom-web"):
        adapter = open_dicomweb(address)._client._session.get_adapter(address)
        assert isinstance(adapter, ImpatientAdapter)
        assert adapter._timeout[1] == (chosen or READ_SECONDS)
