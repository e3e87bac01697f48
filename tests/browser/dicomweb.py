"""A DICOMweb server, Debian's Orthanc, with studies in it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import requests
import SimpleITK as sitk
from dicomweb_client import DICOMwebClient
from server import free_port

from activefreq.data.sample_studies import dermoscopy_like, mr_like
from activefreq.files.dicom import DicomSeries, dicom_series
from activefreq.files.grids import Geometry, Volume

CONFIGURATION = Path(__file__).parents[2] / "scripts" / "orthanc.json"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
START_SECONDS = 60


@dataclass(frozen=True)
class Studies:
    """A DICOMweb server: the URL of its root, a client of it, and the series in it by name."""

    url: str
    client: DICOMwebClient
    series: Mapping[str, DicomSeries]


def orthanc_program() -> str | None:
    return shutil.which("Orthanc") if PLUGIN.exists() else None


@contextlib.contextmanager
def running_orthanc(program: str, folder: Path) -> Iterator[str]:
    """Starts an empty Orthanc on a free port, with the configuration of the demo; yields its DICOMweb root."""
    port = free_port()
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, CONFIGURATION],
            env={**os.environ, "ORTHANC_FOLDER": str(folder), "ORTHANC_PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}/dicom-web"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Orthanc does not answer:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def store_samples(url: str) -> Studies:
    """Stores two colour photographs, and two oblique scans whose file order runs against the slice normal."""
    volumes = {}
    for seed in (1, 2):
        photograph = dermoscopy_like((96, 128), seed=seed).image[None]
        volumes[f"photograph-{seed}"] = Volume(photograph, Geometry(photograph.shape[:3]))
        scan = mr_like((48, 56, 10), seed=seed).image
        array = sitk.GetArrayFromImage(scan)
        geometry = Geometry(array.shape, scan.GetSpacing(), scan.GetOrigin(), scan.GetDirection())
        volumes[f"scan-{seed}"] = Volume(array, geometry)
    client = DICOMwebClient(url)
    series = {name: dicom_series(volume, name=name) for name, volume in volumes.items()}
    for each in series.values():
        client.store_instances(list(each.slices))
    return Studies(url, client, series)


def _answers(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{url}/studies", timeout=10).ok
    return False
