"""The connection to a DICOMweb server, by MONAI Label's settings."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

import requests
from dicomweb_client import DICOMwebClient
from dicomweb_client.ext.gcp.session_utils import create_session_from_gcp_credentials
from dicomweb_client.session_utils import create_session_from_user_pass
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMwebClientX
from monailabel.utils.others.generic import md5_digest

from lib.dicom_studies import DicomStudies
from lib.timeouts import READ_SECONDS, impatient

MODALITIES = ("MR", "CT")
"""What is annotated unless MONAI_LABEL_DICOMWEB_SEARCH_FILTER is set: what OHIF's MONAI Label mode opens."""

LIST_SECONDS = 30.0
"""How long lists of series are believed, and how much there is of each: MONAI_LABEL_DICOMWEB_CACHE_EXPIRY if set."""


def open_dicomweb(url: str) -> DicomStudies:
    """Connects to a DICOMweb server with the credentials and paths of MONAI Label's settings.

    Raises:
        RuntimeError: dcmqi, which writes DICOM-SEG, is not installed.
    """
    _find_dcmqi()
    set_by_user = settings.model_fields_set
    # MONAI Label's default, five seconds, is less than an archive may need.
    by_user = "MONAI_LABEL_DICOMWEB_READ_TIMEOUT" in set_by_user
    read = settings.MONAI_LABEL_DICOMWEB_READ_TIMEOUT if by_user else READ_SECONDS
    if "googleapis.com" in url:
        client = DICOMwebClient(url=url, session=impatient(create_session_from_gcp_credentials(), read=read))
    else:
        user, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
        session = create_session_from_user_pass(user, password) if user and password else requests.Session()
        client = DICOMwebClientX(
            url=url,
            session=impatient(session, read=read),
            qido_url_prefix=settings.MONAI_LABEL_QIDO_PREFIX,
            wado_url_prefix=settings.MONAI_LABEL_WADO_PREFIX,
            stow_url_prefix=settings.MONAI_LABEL_STOW_PREFIX,
        )
    client.set_http_retry_params(retry=False)  # else a server that is down holds every request up for half a minute
    if "MONAI_LABEL_DICOMWEB_SEARCH_FILTER" in set_by_user:
        filters = [settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER]
    else:
        filters = [{"Modality": modality} for modality in MODALITIES]
    cache = settings.MONAI_LABEL_DICOMWEB_CACHE_PATH.strip()
    root = Path(cache) if cache else Path.home() / ".cache" / "monailabel" / "dicom"
    return DicomStudies(
        client,
        root / md5_digest(client.base_url),
        filters=filters,
        list_seconds=settings.MONAI_LABEL_DICOMWEB_CACHE_EXPIRY
        if "MONAI_LABEL_DICOMWEB_CACHE_EXPIRY" in set_by_user
        else LIST_SECONDS,
    )


def _find_dcmqi() -> None:
    """Puts dcmqi's programs on PATH; they come with its Python package, and MONAI Label would download them."""
    scripts = sysconfig.get_path("scripts")
    if shutil.which("itkimage2segimage") is None:
        os.environ["PATH"] += os.pathsep + scripts
    if shutil.which("itkimage2segimage") is None:
        raise RuntimeError(f"itkimage2segimage is neither on PATH nor in {scripts}: pip install dcmqi")
