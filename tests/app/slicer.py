"""What the MONAI Label plugin of 3D Slicer sends, in its order, and what it makes of the answers.

The bytes on the wire are those of the client library that MONAI Label ships, a copy of which is in the plugin. Here is
what the plugin does with it: which points it sends, under which names, and which voxels of an answer it takes over.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import numpy as np
import requests
import SimpleITK as sitk
from monailabel.client import MONAILabelClient

from activefreq.files.grids import Geometry
from activefreq.files.label_resampling import resample_labels
from activefreq.files.volume_writing import write_mask
from activefreq.files.volumes import read_geometry, read_label_volume

Point = tuple[int, int, int]

CLICK_MODEL = "activefreq"


class SlicerPlugin:
    """A person with Slicer.

    Args:
        url: The server's.
        folder: For files that Slicer keeps.

    Attributes:
        mask: (K, J, I) bool, the segment "lesion" as it is shown.
        others: The segments beside it, by name, in the order in which they were imported.
        requests: The params of every click, as they were sent.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.client = MONAILabelClient(url, tmpdir=str(folder), client_id="user-slicer")
        self.info = self.client.info()
        self.requests: list[dict[str, Any]] = []
        self._label = self.info["labels"][0]

    def next_sample(self, strategy: str) -> dict[str, Any]:
        """Asks for an image and downloads it, as a Slicer on another computer does."""
        sample = self.client.next_sample(strategy, {})
        self.open_sample(sample["id"], sample["name"])
        return dict(sample)

    def open_sample(self, image: str, name: str) -> None:
        """Downloads an image of the studies and shows it."""
        answer = requests.get(f"{self.url}/datastore/image?image={quote_plus(image)}", timeout=60)
        answer.raise_for_status()
        path = self.folder / name
        path.write_bytes(answer.content)
        self._show(path, image=image)

    def open_own(self, path: Path) -> None:
        """Shows a volume that the server does not know: the plugin uploads it as a session."""
        created = self.client.create_session(str(path))
        self._show(path, image=path.name, session=created["session_id"])

    def upload(self, name: str) -> None:
        """Puts a volume of one's own into the studies, which the plugin does before it submits its label.

        Args:
            name: Of the volume's node: Slicer calls DICOM volumes by their number and description.
        """
        path = self.folder / "upload.nii.gz"
        sitk.WriteImage(sitk.ReadImage(str(self.path)), str(path))
        self._image = self.client.upload_image(str(path), name)["image"]
        self._session = None

    def click(self, point: Point, *, positive: bool = True) -> dict[str, Any]:
        """Places a point and returns what the server says beside the mask."""
        (self._foreground if positive else self._background).append(list(point))
        slice_index = point[2]
        # Slice 0 counts as no slice: the points of all slices are sent.
        shown = [
            [one for one in points if not slice_index or one[2] == slice_index]
            for points in (self._foreground, self._background)
        ]
        params: dict[str, Any] = {"label": self._label, "foreground": shown[0], "background": shown[1]}
        if shown[0]:
            params["slice"] = shown[0][-1][2]
        answer, facts = self._infer(CLICK_MODEL, params)
        # The slice is emptied, then all that the answer holds is added.
        self.mask[slice_index] = False
        self.mask |= answer == self.info["models"][CLICK_MODEL]["labels"][self._label]
        return facts

    def run_automatic_segmentation(self, model: str | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Runs a segmentation model without points; its label map. "Auto-run on next sample" runs the first one.

        What is in the map becomes segments, called by the answer's `label_names`.
        """
        offered = [name for name, described in self.info["models"].items() if described["type"] == "segmentation"]
        labels, facts = self._infer(model or offered[0], {})
        segments = {segment: labels == value for segment, value in facts["label_names"].items()}
        self.mask = segments.pop(self._label, self.mask)
        self.others |= segments
        return labels, facts

    def submit(self) -> Path:
        """Saves all segments as the final label; returns the file that was sent."""
        path = self.folder / "label.nii.gz"
        segments = {self._label: self.mask, **self.others}
        labels = np.zeros(self.mask.shape, np.uint8)
        for value, segment in enumerate(segments.values(), start=1):
            labels[segment] = value  # one value a voxel: the last segment's
        write_mask(path, labels, like=self.grid)
        info = [{"name": name, "idx": value} for value, name in enumerate(segments, start=1)]
        params = {"label_info": info, "model": CLICK_MODEL}
        self.client.save_label(self._image, str(path), params=params)
        return path

    def train(self, changed: Mapping[str, Any], *, seconds: float = 400) -> dict[str, Any]:
        """Starts a training with the settings that the server offers, some of them changed; waits for its end."""
        offered = _first_of_lists(self.info["trainers"][CLICK_MODEL]["config"])
        self.client.train_start(CLICK_MODEL, {**offered, **changed})
        end = time.monotonic() + seconds
        while self.client.train_status(check_if_running=True) or self._status() in ("SUBMITTED", "RUNNING"):
            assert time.monotonic() < end, self.client.train_status()
            time.sleep(1)
        return dict(self.client.train_status())

    def _status(self) -> str:
        return str(self.client.train_status()["status"])

    def _show(self, path: Path, *, image: str, session: str | None = None) -> None:
        self.path, self._image, self._session = path, image, session
        self.grid: Geometry = read_geometry(path)
        self.mask = np.zeros(self.grid.shape, bool)
        self.others: dict[str, np.ndarray] = {}
        self._foreground: list[list[int]] = []
        self._background: list[list[int]] = []

    def _infer(self, model: str, params: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
        """The label map (K, J, I) as Slicer imports it, by its place in the patient, and the facts beside it."""
        config = _first_of_lists(self.info["models"][model].get("config") or {})
        params = {**params, "device": "cpu", **config, "result_extension": ".nrrd", "result_dtype": "uint8"}
        self.requests.append(params)
        file, facts = self.client.infer(model, self._image, dict(params), session_id=self._session)
        assert file is not None, "an answer without a file makes the plugin fail"
        return resample_labels(read_label_volume(file), self.grid).array, facts


def _first_of_lists(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value[0] if isinstance(value, list) else value for name, value in config.items()}
