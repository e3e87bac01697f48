"""A robot annotator: the same evaluation through a running MONAI Label server, over REST as people's clients do."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import requests

from activefreq.clicks import Click
from activefreq.errors import ActiveFreqError, InputError
from activefreq.files.volumes import read_label_volume

TIMEOUT_SECONDS = 600.0


class ServerError(ActiveFreqError, RuntimeError):
    """A server cannot be reached, or answers what it should not."""


@dataclass(frozen=True)
class RemoteImage:
    """An image as the server knows it.

    Attributes:
        image_id: In the server's datastore.
        k: The slice; 0 of a 2D image.
        shape: (H, W).
    """

    image_id: str
    k: int
    shape: tuple[int, int]


@dataclass(frozen=True, eq=False)
class RemoteState:
    """What the robot has clicked and seen. A server tells masks only, so the probability is 0 or 1."""

    clicks: tuple[Click, ...]
    mask: np.ndarray

    @cached_property
    def probability(self) -> np.ndarray:
        """(H, W) float32, 0 or 1."""
        return self.mask.astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class RemoteBackend:
    """Sends the growing list of clicks of each image to a server; a backend and its own factory.

    Attributes:
        url: Of the server.
        model: Name of the app's task.
    """

    url: str
    model: str = "activefreq"

    def __call__(self) -> RemoteBackend:
        return self

    def describe(self) -> dict[str, Any]:
        """Returns what is served: the app's name and version, the model's, and in how many mirror images it looks.

        Raises:
            ServerError: It cannot be reached, or does not serve the task.
        """
        info = self._request("GET", "/info/").json()
        models = info.get("models", {})
        if self.model not in models:
            raise ServerError(f"{self.url} serves {', '.join(models)}, but not {self.model}")
        return {
            "server": self.url,
            "app": str(info.get("name")),
            "app_version": str(info.get("version")),
            "model_version": models[self.model].get("model_version"),
            "mirrors": models[self.model].get("mirrors"),
        }

    def open(self, name: str, image: np.ndarray) -> RemoteImage:
        """Raises `InputError` if the server does not have the image."""
        image_id, _, k = name.partition("#k=")
        answer = self._request("HEAD", "/datastore/image", params={"image": image_id}, allow=(404,))
        if answer.status_code == 404:
            raise InputError(f"{name}: the server has no image {image_id}")
        return RemoteImage(image_id, int(k or 0), (image.shape[0], image.shape[1]))

    def start(self, image: RemoteImage, *, automatic: bool) -> RemoteState:
        """Raises `InputError` for an automatic start: there is no such request."""
        if automatic:
            raise InputError("a server is not asked for masks without clicks: use --start empty")
        return RemoteState((), np.zeros(image.shape, bool))

    def answer(self, requests_: Sequence[tuple[RemoteImage, RemoteState, Click]]) -> list[RemoteState]:
        return [self._answer(image, (*state.clicks, click)) for image, state, click in requests_]

    def _answer(self, image: RemoteImage, clicks: tuple[Click, ...]) -> RemoteState:
        def points(positive: bool) -> list[list[int]]:
            return [[click.x, click.y, image.k] for click in clicks if click.positive == positive]

        params = {
            "foreground": points(True),
            "background": points(False),
            "clicks": [[click.x, click.y, image.k, int(click.positive)] for click in clicks],
            "result_extension": ".nii",
        }
        answer = self._request(
            "POST",
            f"/infer/{self.model}",
            params={"image": image.image_id, "output": "image"},
            data={"params": json.dumps(params)},
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "mask.nii")
            path.write_bytes(answer.content)
            volume = read_label_volume(path).array
        if volume.shape[1:] != image.shape or image.k >= volume.shape[0]:
            raise ServerError(f"{self.url} answered a mask of {volume.shape} voxels for {image}")
        return RemoteState(clicks, volume[image.k] != 0)

    def _request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        data: dict[str, str] | None = None,
        allow: tuple[int, ...] = (),
    ) -> requests.Response:
        try:
            answer = requests.request(
                method, self.url.rstrip("/") + path, params=params, data=data, timeout=TIMEOUT_SECONDS
            )
        except requests.RequestException as error:
            raise ServerError(f"cannot reach {self.url}: {error}") from error
        if not answer.ok and answer.status_code not in allow:
            raise ServerError(f"{self.url} answered {answer.status_code} to {path}: {answer.text[:300]}")
        return answer
