"""A DICOMweb server that is not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import requests
from pydicom.dataset import Dataset
from synthetic import oblique_volume

from activefreq.files.dicom import dicom_series
from activefreq.files.grids import Volume


class DicomWebInMemory:
    """What `DicomStudies` uses of a DICOMweb client, with the server behind it."""

    base_url = "http://dicomweb.test"

    def __init__(self) -> None:
        self.instances: list[Dataset] = []
        self.calls: Counter[str] = Counter()
        self.down = False
        self.refuses = False
        self.states_counts = True
        self.arriving: list[Dataset] = []
        self.lost_frames: set[str] = set()

    def add(self, volume: Volume, name: str) -> str:
        """Adds an image and returns the UID of its series."""
        series = dicom_series(volume, name=name)
        self.instances += series.slices
        return series.series_uid

    def segmentations(self) -> list[Dataset]:
        return [dataset for dataset in self.instances if dataset.Modality == "SEG"]

    def search_for_series(self, search_filters: Mapping[str, str], get_remaining: bool = False) -> list[dict[str, Any]]:
        self._called("search")
        found: dict[str, dict[str, Any]] = {}
        for dataset in self.instances:
            if all(dataset.get(name) == value for name, value in search_filters.items()):
                row = Dataset()
                for name in ("Modality", "PatientID", "StudyInstanceUID", "SeriesInstanceUID"):
                    setattr(row, name, dataset.get(name))
                if self.states_counts:
                    row.NumberOfSeriesRelatedInstances = len(self._of(dataset.SeriesInstanceUID))
                found[dataset.SeriesInstanceUID] = row.to_json_dict()
        return list(found.values())

    def retrieve_series_metadata(self, study: str, series: str) -> list[dict[str, Any]]:
        self._called("metadata")
        described = []
        for dataset in self._of(series):
            head = Dataset()
            head.update({element.tag: element for element in dataset if element.keyword != "PixelData"})
            described.append(head.to_json_dict())
        return described

    def search_for_instances(self, study: str, series: str, get_remaining: bool = False) -> list[dict[str, Any]]:
        self._called("search of instances")
        rows = []
        for dataset in self._of(series):
            row = Dataset()
            row.SOPInstanceUID = dataset.SOPInstanceUID
            rows.append(row.to_json_dict())
        return rows

    def retrieve_series(self, study: str, series: str) -> list[Dataset]:
        """The next of what is arriving comes too late for it."""
        self._called("series")
        found = self._of(series)
        self.instances += self.arriving
        self.arriving = []
        return found

    def retrieve_instance_frames(
        self, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str, frame_numbers: Sequence[int]
    ) -> list[bytes]:
        self._called("frames")
        if sop_instance_uid in self.lost_frames:
            raise requests.ConnectionError("the frame is lost")
        return [d.PixelData for d in self._of(series_instance_uid) if d.SOPInstanceUID == sop_instance_uid]

    def store_instances(self, datasets: Sequence[Dataset]) -> Dataset:
        self._called("store")
        answer = Dataset()
        if self.refuses:
            answer.FailedSOPSequence = [Dataset()]
        else:
            self.instances += datasets
        return answer

    def _of(self, series: str) -> list[Dataset]:
        return [dataset for dataset in self.instances if dataset.SeriesInstanceUID == series]

    def _called(self, what: str) -> None:
        self.calls[what] += 1
        if self.down:
            raise requests.ConnectionError("nobody is there")


def scan(seed: int) -> tuple[Volume, np.ndarray]:
    """A volume whose values a DICOM series holds exactly, and a mask that leaves slices empty."""
    volume, labels = oblique_volume(seed)
    mask = labels == 1
    mask[0] = False
    assert mask.any()
    return Volume(volume.array.astype(np.int16), volume.geometry), mask
