"""The studies on a DICOMweb server, and a folder that keeps what was downloaded from it."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pydicom
import requests
from cachetools import TTLCache
from dicomweb_client import DICOMwebClient
from fastapi import HTTPException
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.utils.convert import dicom_to_nifti, nifti_to_dicom_seg
from monailabel.datastore.utils.dicom import dicom_web_download_series
from monailabel.interfaces.datastore import DefaultLabelTag
from pydicom.dataset import Dataset

from activefreq.errors import InputError
from activefreq.files.checks import last_line
from activefreq.files.label_resampling import resample_labels
from activefreq.files.volume_writing import write_mask, write_volume
from activefreq.files.volumes import read_geometry, read_label_volume, read_volume
from lib.answers import called, http_errors
from lib.dicom_plain import complete, read_headers, write_plain_copies
from lib.dicom_segments import Segment, for_dcmqi, label_values, name_segments, segments_of
from lib.studies import StudiesFolder

FINAL = DefaultLabelTag.FINAL.value

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, order=True)
class SegmentationSeries:
    """A DICOM-SEG on the server; later ones sort after earlier ones.

    Attributes:
        made: Date and time as DICOM writes them, empty if unknown.
        uid: Of its series.
        study: UID of its study.
        image: UID of the series that it segments, empty if unknown.
    """

    made: str
    uid: str
    study: str
    image: str


class DicomStudies(DICOMWebDatastore, StudiesFolder):
    """Series as images, and DICOM-SEG series as their final labels.

    Against MONAI Label's own: a series is downloaded once and whole, whoever asks at the same time, and anew when the
    server has more of it, since series arrive slice by slice; one with a gap is refused; an image is known by its
    series' UID or refused; a saved label counts at once; of several segmentations of an image the newest is its label,
    also one that another program stored; a label comes back on its image's grid.

    Args:
        client: Of the server.
        folder: For downloads, made if need be.
        filters: QIDO searches whose results together are the images.
        list_seconds: How long the lists of series are believed, and how much there is of each. Saving a label ends it.
    """

    def __init__(
        self,
        client: DICOMwebClient,
        folder: Path,
        *,
        filters: Sequence[Mapping[str, Any]],
        list_seconds: float,
    ) -> None:
        self._client = client
        self._filters = filters
        self._fetch_by_frame = settings.MONAI_LABEL_DICOMWEB_FETCH_BY_FRAME
        self._lists: TTLCache[str, Any] = TTLCache(maxsize=2, ttl=list_seconds)
        self._lists_lock = threading.RLock()
        # Apart from the lists: a click must not wait for a list that somebody else asked for.
        self._counts: TTLCache[str, int | None] = TTLCache(maxsize=math.inf, ttl=list_seconds)
        self._counts_lock = threading.Lock()
        self._segmentations_seen: dict[str, SegmentationSeries] = {}
        self._downloads = threading.RLock()
        # Not DICOMWebDatastore's: it would open a plain datastore.
        StudiesFolder.__init__(self, str(folder))

    def list_images(self) -> list[str]:
        return list(self._believed("images", self._search_images))

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        return list(self._segmentations())

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        labeled = self._segmentations()
        return [image_id for image_id in self.list_images() if image_id not in labeled]

    def get_image_uri(self, image_id: str) -> str:
        if not self._is_here(image_id):
            with self._downloads:
                if not self._is_here(image_id):
                    self._check_listed(image_id)
                    self._download(image_id)
        return StudiesFolder.get_image_uri(self, image_id)

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:
        """Path of a label; labels are named as their images."""
        if label_tag == FINAL:
            self._fetch_label(label_id)
        return StudiesFolder.get_label_uri(self, label_id, label_tag)

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        rows = []
        for image_id in self.get_labeled_images():
            try:
                rows.append({"image": self.get_image_uri(image_id), "label": self.get_label_uri(image_id, FINAL)})
            except (HTTPException, InputError) as error:
                # Such as of another program's segmentation, of a kind that cannot be read.
                logger.warning("%s is left out: %s", image_id, getattr(error, "detail", error))
        if full_path:
            return rows
        return [{key: os.path.relpath(path, self._datastore_path) for key, path in row.items()} for row in rows]

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        raise HTTPException(405, "images are added on the DICOMweb server, not here")

    def remove_image(self, image_id: str) -> None:
        raise HTTPException(405, "images are removed on the DICOMweb server, not here")

    def remove_label(self, label_id: str, label_tag: str) -> None:
        if label_tag == FINAL:
            # What is removed here alone would come back with the next request.
            raise HTTPException(405, "final labels are removed on the DICOMweb server, not here")
        StudiesFolder.remove_label(self, label_id, label_tag)

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], label_id: str = ""
    ) -> str:
        """Saves a label; a final one becomes a DICOM-SEG on the server as well, and there first."""
        image = self.get_image_uri(image_id)
        label_info = dict(label_info or {})
        if label_tag == FINAL:
            with http_errors():
                segments = segments_of(label_values(label_filename, image), label_info)
            label_info.update(self._store(image_id, label_filename, segments))
        saved = StudiesFolder.save_label(self, image_id, label_filename, label_tag, label_info)
        self.forget_lists()
        return saved

    def forget_lists(self) -> None:
        """Asks the server anew when the lists of images and labels are needed next."""
        with self._lists_lock:
            self._lists.clear()
        with self._counts_lock:
            self._counts.clear()

    def _believed(self, name: str, search: Callable[[], T]) -> T:
        with self._lists_lock:
            # Looked at once: what is in there at one moment, or was just put in, may have expired at the next.
            found: T | None = self._lists.get(name)
            if found is None:
                found = search()
                self._lists[name] = found
            return found

    def _search(self, filters: Mapping[str, Any]) -> list[Dataset]:
        with dicomweb_errors("its list of series"):
            rows = self._client.search_for_series(search_filters=dict(filters), get_remaining=True)
            return [Dataset.from_json(row) for row in rows]

    def _search_images(self) -> list[str]:
        found = {str(row.SeriesInstanceUID): row for filters in self._filters for row in self._search(filters)}
        counts = {uid: _stated_count(row) for uid, row in found.items()}
        with self._counts_lock:
            self._counts.update({uid: count for uid, count in counts.items() if count is not None})
        return list(found)

    def _segmentations(self) -> dict[str, SegmentationSeries]:
        """The newest segmentation of each image that has one."""
        return dict(self._believed("segmentations", self._search_segmentations))

    def _search_segmentations(self) -> dict[str, SegmentationSeries]:
        known = self._segmentations_seen
        present: dict[str, SegmentationSeries] = {}
        for series in self._search({"Modality": "SEG"}):
            uid, study = str(series.SeriesInstanceUID), str(series.StudyInstanceUID)
            described = known.get(uid) or self._describe_or_pass_over(uid, study=study)
            if described is not None:
                present[uid] = described
        self._segmentations_seen = present
        images = set(self.list_images())
        return {s.image: s for s in sorted(present.values()) if s.image in images}

    def _describe_or_pass_over(self, uid: str, *, study: str) -> SegmentationSeries | None:
        """As `_describe`; None for a series of which nonsense is told, until the lists are asked for anew."""
        try:
            return self._describe(uid, study=study)
        except HTTPException as error:
            if isinstance(error.__cause__, requests.RequestException):
                raise
            logger.warning("The segmentation %s is passed over: %s", uid, error.detail)
            return None

    def _describe(self, uid: str, *, study: str) -> SegmentationSeries:
        with dicomweb_errors(f"what it tells of the series {uid}"):
            found = self._client.retrieve_series_metadata(study, uid)
            described = Dataset.from_json(found[0]) if found else Dataset()
            references = described.get("ReferencedSeriesSequence") or []
            return SegmentationSeries(
                made=str(described.get("ContentDate") or "") + str(described.get("ContentTime") or ""),
                uid=uid,
                study=study,
                image=str(references[0].SeriesInstanceUID) if references else "",
            )

    def _check_listed(self, image_id: str) -> None:
        if image_id not in self.list_images():
            self.forget_lists()  # it may be newer than the list
            if image_id not in self.list_images():
                raise _no_series(image_id)

    def _is_here(self, image_id: str) -> bool:
        """Whether an image was downloaded, and the server has as much of it as it had then."""
        if image_id not in self._datastore.objects:
            return False
        files = _count_files(self._series_folder(image_id))
        return files > 0 and self._count(image_id) in (None, files)

    def _count(self, image_id: str) -> int | None:
        """How many instances the server has of a series; None if it does not say."""
        with self._counts_lock, contextlib.suppress(KeyError):
            return self._counts[image_id]
        count = None
        try:
            count = self._ask_count(self._describe_image(image_id))
        except HTTPException as error:
            # What was downloaded serves on while the server is away; and that is remembered, not waited for anew.
            logger.warning("Whether there is more of %s now cannot be told: %s", image_id, error.detail)
        with self._counts_lock:
            self._counts[image_id] = count
        return count

    def _describe_image(self, image_id: str) -> Dataset:
        """What the server tells of a series. Raises `HTTPException` (404) if there is none (any more)."""
        with dicomweb_errors(f"what it tells of the series {image_id}"):
            found = self._client.search_for_series(search_filters={"SeriesInstanceUID": image_id})
            for row in map(Dataset.from_json, found):
                if row.SeriesInstanceUID == image_id:
                    return row
        raise _no_series(image_id)

    def _ask_count(self, row: Dataset) -> int:
        """How many instances there are of a series that the server has just described."""
        count = _stated_count(row)
        if count is not None:
            return count
        study, series = str(row.StudyInstanceUID), str(row.SeriesInstanceUID)
        with dicomweb_errors(f"its list of the images of the series {series}"):
            found = self._client.search_for_instances(study, series, get_remaining=True)
            return len({str(Dataset.from_json(instance).SOPInstanceUID) for instance in found})

    def _series_folder(self, image_id: str) -> Path:
        """Where the series' own files are; MONAI Label looks for them beside the volume."""
        return Path(self._datastore.image_path()) / image_id

    def _download(self, image_id: str) -> None:
        study = str(self._describe_image(image_id).StudyInstanceUID)
        with self._temporary_folder() as temporary:
            series = temporary / image_id
            with dicomweb_errors(f"the series {image_id}"):
                dicom_web_download_series(study, image_id, str(series), self._client, self._fetch_by_frame)
            # Asked after the download: what arrived during it counts.
            described = self._describe_image(image_id)
            count, files = self._ask_count(described), _count_files(series)
            with self._counts_lock:
                self._counts[image_id] = count
            if files != count:
                raise HTTPException(
                    503,
                    f"the series {image_id} is still arriving on the DICOMweb server, or cannot be fetched whole: "
                    f"{files} of its {count} images came; try again in a while",
                )
            volume = temporary / "volume.nii.gz"
            _write_as_nifti(series, volume)
            # First the volume: until the folder follows, the image does not count as being here, see `_is_here`.
            self._put_image(image_id, str(volume), _image_info(described))
            target = self._series_folder(image_id)
            shutil.rmtree(target, ignore_errors=True)
            series.rename(target)

    def _fetch_label(self, image_id: str) -> None:
        """Brings the newest segmentation of an image here, if it is not."""
        segmentation = self._segmentations().get(image_id)
        if segmentation is None:
            return
        image = self.get_image_uri(image_id)
        with self._downloads:
            known = self.get_label_info(image_id, FINAL)
            path = StudiesFolder.get_label_uri(self, image_id, FINAL)
            if known.get("SeriesInstanceUID") == segmentation.uid and Path(path).is_file():
                return
            with self._temporary_folder() as temporary:
                series = temporary / segmentation.uid
                with dicomweb_errors(f"the series {segmentation.uid}"):
                    dicom_web_download_series(
                        segmentation.study, segmentation.uid, str(series), self._client, self._fetch_by_frame
                    )
                with _removed(_segmentation_file(series)) as cropped, http_errors():
                    # A DICOM-SEG may hold only the slices that are not empty.
                    whole = resample_labels(read_label_volume(cropped), read_geometry(image))
                    label = temporary / "label.nii.gz"
                    write_mask(label, whole.array.astype(np.uint8), like=whole)
                info = {"SeriesInstanceUID": segmentation.uid, "StudyInstanceUID": segmentation.study}
                StudiesFolder.save_label(self, image_id, str(label), FINAL, info)

    def make_segmentation(self, image_id: str, label: str, label_info: Mapping[str, Any]) -> Path:
        """A new file, which the caller removes, of a label as DICOM-SEG.

        Args:
            image_id: Of an image that is here.
            label: File.
            label_info: Under `label_info` what the segments are called, a list of {"name": text, "idx": value}.

        Raises:
            InputError: The label is empty, or not on the image's grid, the names cannot be read, or the image does not
                say where its slices lie.
        """
        image = StudiesFolder.get_image_uri(self, image_id)
        return self._write_segmentation(image_id, label, segments_of(label_values(label, image), label_info))

    def _write_segmentation(self, image_id: str, label: str, segments: Sequence[Segment]) -> Path:
        series = self._series_folder(image_id)
        file = Path(nifti_to_dicom_seg(str(series), label, for_dcmqi(segments)))
        refused = not file.is_file()
        if refused:
            images = read_headers(series)
            with self._temporary_folder() as folder:
                write_plain_copies(images, folder)
                file = Path(nifti_to_dicom_seg(str(folder), label, for_dcmqi(segments)))
        if not file.is_file():
            raise HTTPException(500, "dcmqi could not turn the label into a DICOM-SEG; the server's log says why")
        try:
            dataset = pydicom.dcmread(file)
            if refused:
                complete(dataset, images)
            name_segments(dataset, segments)
            dataset.save_as(file)
        except BaseException:
            file.unlink()
            raise
        return file

    def _store(self, image_id: str, label: str, segments: Sequence[Segment]) -> dict[str, Any]:
        """Puts a label on the server as a DICOM-SEG and returns what identifies it."""
        with http_errors():
            made = self._write_segmentation(image_id, label, segments)
        with _removed(made) as file:
            dataset = pydicom.dcmread(file)
            with dicomweb_errors():
                answer = self._client.store_instances([dataset])
            if answer.get("FailedSOPSequence"):
                raise HTTPException(502, "the DICOMweb server refused the label")
        return {
            "SeriesInstanceUID": str(dataset.SeriesInstanceUID),
            "StudyInstanceUID": str(dataset.StudyInstanceUID),
            "PatientID": str(dataset.PatientID),
        }

    @contextlib.contextmanager
    def _temporary_folder(self) -> Iterator[Path]:
        """On the file system of the downloads, so that what is whole can be renamed into place."""
        with tempfile.TemporaryDirectory(prefix=".downloading-", dir=self._datastore_path) as folder:
            yield Path(folder)


@contextlib.contextmanager
def dicomweb_errors(answer: str = "its answer") -> Iterator[None]:
    """Within the block, trouble with the DICOMweb server answers 502 and says so; `answer` is what is read there."""
    try:
        yield
    except requests.RequestException as error:
        raise HTTPException(502, f"the DICOMweb server does not answer as it should: {error}") from error
    except (HTTPException, OSError, MemoryError):
        raise  # none of that server's doing
    except Exception as error:  # what is no DICOM can be wrong in any way
        reason = last_line(error) or type(error).__name__
        raise HTTPException(
            502, f"the DICOMweb server does not answer as it should: {answer} cannot be read: {reason}"
        ) from error


def _no_series(image_id: str) -> HTTPException:
    return HTTPException(404, f"there is no image series {image_id!r} on the DICOMweb server")


def _stated_count(row: Dataset) -> int | None:
    """How many instances a series has, if the server's answer to a search says so."""
    count = row.get("NumberOfSeriesRelatedInstances")
    return None if count is None else int(count)


def _count_files(folder: Path) -> int:
    """0 if there is no such folder (any more)."""
    try:
        return sum(1 for _ in folder.iterdir())
    except FileNotFoundError:
        return 0


def _image_info(row: Dataset) -> dict[str, Any]:
    """What MONAI Label notes of an image, from the server's description of its series."""
    noted = ("StudyDate", "StudyTime", "Modality", "RetrieveURL", "PatientID", "StudyInstanceUID")
    return {"SeriesInstanceUID": str(row.SeriesInstanceUID), **{name: str(row.get(name) or "UNK") for name in noted}}


def _write_as_nifti(series: Path, target: Path) -> None:
    """Makes a NIfTI file of a series that was downloaded. Raises `InputError` if it cannot be read, or has a gap.

    Not MONAI Label's way: that spreads slices with a gap between them evenly, and then none is in its place.
    """
    files = list(series.iterdir())
    try:
        with called(series, f"the series {series.name}"):
            write_volume(target, read_volume(files[0] if len(files) == 1 else series))
    except (RuntimeError, ValueError) as error:  # ITK has no errors of its own
        raise InputError(f"the series {series.name} cannot be read: {last_line(error)}") from error


def _segmentation_file(series: Path) -> str:
    """A new file of labels of a downloaded DICOM-SEG. Raises `InputError` if none can be made of it."""
    try:
        return str(dicom_to_nifti(str(series), is_seg=True))
    except Exception as error:  # pydicom-seg has no errors of its own
        raise InputError(f"the series {series.name} cannot be read: {last_line(error)}") from error


@contextlib.contextmanager
def _removed(path: str | Path) -> Iterator[Path]:
    """Removes a file when the block ends."""
    try:
        yield Path(path)
    finally:
        Path(path).unlink(missing_ok=True)
