"""A model in this process behind the backend interface: the very session that the app serves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from activefreq.clicks import Click
from activefreq.errors import InputError
from activefreq.models.checkpoint import load_checkpoint
from activefreq.models.config import SessionConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.session.segmenter import resolve_device
from activefreq.session.state import PreparedImage, SessionState, prepare_image
from activefreq.session.step import step


class LocalBackend:
    """Answers clicks through `session.step`, batches as one."""

    def __init__(self, model: InteractiveModel, session: SessionConfig) -> None:
        self._model = model
        self._session = session

    def open(self, name: str, image: np.ndarray) -> PreparedImage:
        return prepare_image(image)

    def start(self, image: PreparedImage, *, automatic: bool) -> SessionState:
        return SessionState.start(image.shape)

    def answer(self, requests: Sequence[tuple[PreparedImage, SessionState, Click]]) -> list[SessionState]:
        return step(self._model, requests, self._session)


@dataclass(frozen=True, kw_only=True)
class LocalBackendFactory:
    """Makes a `LocalBackend` in whichever process calls it.

    Attributes:
        checkpoint: File of the weights.
        input_size: Side in pixels of the square that the network sees, None for the checkpoint's own.
        device: "auto", "cpu", "cuda" or "cuda:N".
    """

    checkpoint: Path
    input_size: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.input_size is not None and (self.input_size < 32 or self.input_size % 32):
            raise InputError(f"size must be a multiple of 32, not {self.input_size}")

    def __call__(self) -> LocalBackend:
        """Raises `CheckpointError` or `InputError` (device)."""
        loaded = load_checkpoint(self.checkpoint)
        model = loaded.model
        if self.input_size is not None:
            model.config = dataclasses.replace(model.config, input_size=self.input_size)
        device = resolve_device(self.device)
        return LocalBackend(model.to(device).to(memory_format=torch.channels_last).eval(), loaded.session)
