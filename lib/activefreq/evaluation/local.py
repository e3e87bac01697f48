"""A model in this process behind the backend interface: the very session that the app serves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from activefreq.clicks import Click
from activefreq.errors import InputError
from activefreq.models.checkpoint import Checkpoint, checkpoint_hash, load_checkpoint, resolve_checkpoint
from activefreq.models.config import SessionConfig
from activefreq.models.inference import prepare_for_inference
from activefreq.models.interactive import InteractiveModel
from activefreq.session.automatic import automatic_probability
from activefreq.session.segmenter import resolve_device
from activefreq.session.state import PreparedImage, SessionState, prepare_image, read_only
from activefreq.session.step import step


class LocalBackend:
    """Answers clicks through `session.step`, each image by itself."""

    def __init__(self, model: InteractiveModel, session: SessionConfig) -> None:
        self._model = model
        self._session = session

    def open(self, name: str, image: np.ndarray) -> PreparedImage:
        return prepare_image(image)

    def start(self, image: PreparedImage, *, automatic: bool) -> SessionState:
        if automatic:
            probability = read_only(automatic_probability(self._model, image))
            return SessionState((), probability, progressive=False)
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
        mirrors: See `SessionConfig.mirrors`; None for the checkpoint's own.
    """

    checkpoint: Path
    input_size: int | None = None
    device: str = "auto"
    mirrors: int | None = None

    def __post_init__(self) -> None:
        if self.input_size is not None and (self.input_size < 32 or self.input_size % 32):
            raise InputError(f"size must be a multiple of 32, not {self.input_size}")

    def __call__(self) -> LocalBackend:
        """Raises `CheckpointError` or `InputError` (device)."""
        loaded = load_checkpoint(self.checkpoint)
        model = loaded.model
        if self.input_size is not None:
            model.config = dataclasses.replace(model.config, input_size=self.input_size)
        session = loaded.session.with_mirrors(self.mirrors)
        return LocalBackend(prepare_for_inference(model, resolve_device(self.device)), session)


def describe_checkpoint(
    weights: str | None, backbone: str | None, *, mirrors: int | None = None
) -> tuple[Path, dict[str, Any]]:
    """Finds a checkpoint, and what is to be said of it beside its results.

    Args:
        weights: A file, or the name of a checkpoint that ships. None takes the shipped default, or the one that is
            named after the backbone if the default holds another.
        backbone: Name of the backbone that it must hold, or None.
        mirrors: As `LocalBackendFactory` takes it.

    Returns:
        The file; and the checkpoint's name, hash, backbone, network size and session as plain values.

    Raises:
        CheckpointError: There is no such file, or it is damaged.
        InputError: It holds another backbone.
    """
    path = resolve_checkpoint(weights or "default")
    checkpoint = load_checkpoint(path)
    if weights is None and backbone is not None and checkpoint.model.config.backbone.name != backbone:
        path = resolve_checkpoint(backbone)
        checkpoint = load_checkpoint(path)
    found = checkpoint.model.config.backbone.name
    if backbone is not None and found != backbone:
        raise InputError(f"{path} holds the backbone {found}, not {backbone}")
    return path, _description(path, checkpoint, mirrors)


def _description(path: Path, checkpoint: Checkpoint, mirrors: int | None) -> dict[str, Any]:
    return {
        "checkpoint": path.name,
        "checkpoint_sha256": checkpoint_hash(path),
        "backbone": checkpoint.model.config.backbone.name,
        "input_size": checkpoint.model.config.input_size,
        "session": dataclasses.asdict(checkpoint.session.with_mirrors(mirrors)),
    }
