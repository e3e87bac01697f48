"""Makes DICOM studies of photographs and volumes, so that OHIF's MONAI Label mode opens them.

Every image becomes one study in a folder of its own. Photographs (jpg, png, tif, bmp) become three identical slices:
click on the one that is shown. Volumes (NIfTI, NRRD, MetaImage) keep their geometry.

The same image makes the same study again: sending it twice does no harm. For every image a line
`name,study,series,slices` goes to standard output; MONAI Label calls an image by its series. An image that cannot be
converted is told, and the others are; the exit status is then 2.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import requests
from dicomweb_client import DICOMwebClient
from tqdm import tqdm

from activefreq.command_line import WRONG, command
from activefreq.data.pairs import files_by_stem, image_name
from activefreq.errors import InputError
from activefreq.files.dicom import DicomSeries, dicom_series, write_dicom
from activefreq.files.volumes import read_volume


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--images", type=Path, required=True, metavar="PATH", help="an image, or a folder of images")
    made.add_argument("--output", type=Path, metavar="DIR", help="where the studies' folders are written")
    made.add_argument(
        "--dicomweb", metavar="URL", help="DICOMweb server to send them to, such as http://127.0.0.1:8042/dicom-web"
    )
    return made


@command("to_dicom")
def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if not (options.output or options.dicomweb):
        parser().error("give --output, --dicomweb, or both")
    try:
        complete = convert(options)
    except requests.RequestException as error:
        raise InputError(f"{options.dicomweb} does not take the studies: {error}") from error
    return 0 if complete else WRONG


def convert(options: argparse.Namespace) -> bool:
    """Converts what can be, and tells what cannot; returns whether all was converted."""
    images = find_images(options.images)
    client = connect(options.dicomweb) if options.dicomweb else None
    lines = csv.writer(sys.stdout, lineterminator="\n")
    lines.writerow(["name", "study", "series", "slices"])
    complete = True
    for name, path in tqdm(images.items(), unit="image", disable=None):
        try:
            series = dicom_series(read_volume(path), name=name)
            if options.output:
                write_dicom(series, options.output / name)
        except InputError as error:
            tqdm.write(f"to_dicom: {error}", file=sys.stderr)
            complete = False
            continue
        if client:
            send(series, client)
        lines.writerow([name, series.study_uid, series.series_uid, len(series.slices)])
    return complete


def find_images(path: Path) -> dict[str, Path]:
    """The images to convert, by name. Raises `InputError` if there is none, or if two would have one name."""
    if path.is_file():
        return {image_name(path): path}
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder")
    found = files_by_stem(path)
    if not found:
        raise InputError(f"{path}: there is no image in this folder")
    for name, files in found.items():
        if len(files) > 1:
            raise InputError(f"{path}: {' and '.join(file.name for file in files)} would both be called {name}")
    return {name: files[0] for name, files in found.items()}


def connect(url: str) -> DICOMwebClient:
    """Raises `InputError` if that is no address."""
    try:
        client = DICOMwebClient(url)
    except ValueError as error:
        raise InputError(f"{url!r} is no address of a DICOMweb server ({error})") from error
    client.set_http_retry_params(retry=False)  # it would try a server that is not there for half a minute
    return client


def send(series: DicomSeries, client: DICOMwebClient) -> None:
    """Stores a series on a DICOMweb server. Raises `requests.RequestException` if it does not take it."""
    answer = client.store_instances(list(series.slices))
    failed = answer.get("FailedSOPSequence")
    if failed:
        raise requests.RequestException(f"{len(failed)} slices of {series.name} were refused")


if __name__ == "__main__":
    sys.exit(main())
