"""The click session of one image: what the app, the evaluation, training's validation and scripts all go through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from activefreq.clicks import Click, check_clicks
from activefreq.errors import InputError
from activefreq.models.checkpoint import Checkpoint, load_checkpoint, resolve_checkpoint
from activefreq.models.config import SessionConfig
from activefreq.models.inference import prepare_for_inference
from activefreq.models.interactive import InteractiveModel
from activefreq.session.state import PreparedImage, SessionState, prepare_image
from activefreq.session.step import step


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """What a session answers.

    Attributes:
        mask: (H, W) bool.
        probability: (H, W) float32 in [0, 1], read-only; `mask` is where it is above 0.5.
    """

    mask: np.ndarray
    probability: np.ndarray


def resolve_device(device: str | torch.device) -> torch.device:
    """Names a device; "auto" is the first CUDA device, or the CPU. Raises `InputError` if it is not there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"unknown device {device!r}: {error}") from None
    if resolved.type == "cuda" and (
        not torch.cuda.is_available() or (resolved.index or 0) >= torch.cuda.device_count()
    ):
        raise InputError(f"device {device!r} is not there: {torch.cuda.device_count()} CUDA devices are")
    return resolved


class InteractiveSegmenter:
    """Clicks in, masks out, for one image at a time.

    The same image and clicks give the same mask, whether the clicks come one by one or all at once.

    Example:
        >>> segmenter = InteractiveSegmenter.from_pretrained()     # doctest: +SKIP
        >>> segmenter.set_image(image)                             # doctest: +SKIP
        >>> segmenter.click(120, 80).mask                          # doctest: +SKIP
    """

    def __init__(
        self,
        model: InteractiveModel,
        *,
        config: SessionConfig = SessionConfig(),
        device: str | torch.device = "cpu",
    ) -> None:
        self.device = resolve_device(device)
        self.model = prepare_for_inference(model, self.device)
        self.config = config
        self._image: PreparedImage | None = None
        self._states: list[SessionState] = []

    @classmethod
    def from_pretrained(
        cls,
        path_or_name: str | Path = "default",
        device: str | torch.device = "auto",
        *,
        mirrors: int | None = None,
    ) -> InteractiveSegmenter:
        """Loads a checkpoint.

        Args:
            path_or_name: A file, or the name of a checkpoint that ships ("default").
            device: "auto", "cpu", "cuda" or "cuda:N".
            mirrors: See `SessionConfig.mirrors`; None for the checkpoint's own.

        Raises:
            CheckpointError: The file is missing, damaged or does not fit.
            InputError: There is no such device, or there cannot be so many mirror images.
        """
        return cls.from_checkpoint(load_checkpoint(resolve_checkpoint(path_or_name)), device, mirrors=mirrors)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        device: str | torch.device = "auto",
        *,
        mirrors: int | None = None,
    ) -> InteractiveSegmenter:
        """As `from_pretrained`, of a checkpoint that is loaded already. Raises `InputError`."""
        return cls(checkpoint.model, config=checkpoint.session.with_mirrors(mirrors), device=device)

    def set_image(self, image: np.ndarray) -> None:
        """Begins anew with an image: (H, W) or (H, W, 1|3), uint8, uint16 or float, any size. Raises `InputError`."""
        self.set_prepared(prepare_image(image))

    def set_prepared(self, image: PreparedImage) -> None:
        """Begins anew with an image that is prepared already, so that many sessions can share one."""
        self._image = image
        self._states = [SessionState.start(image.shape)]

    def click(self, y: int, x: int, positive: bool = True) -> SegmentationResult:
        """Adds a click at row y, column x and returns the new mask. Raises `InputError` outside the image."""
        image, states = self._ready()
        states.append(step(self.model, [(image, states[-1], Click(y, x, positive))], self.config)[0])
        return self.result

    def undo(self) -> SegmentationResult:
        """Takes back the last click, or the last `set_mask`; exact, any depth. Raises `InputError` if there is none."""
        _, states = self._ready()
        if len(states) == 1:
            raise InputError("there is nothing to undo")
        states.pop()
        return self.result

    def reset(self) -> None:
        """Takes back everything; the image stays."""
        image, _ = self._ready()
        self._states = [SessionState.start(image.shape)]

    def set_mask(self, mask: np.ndarray) -> SegmentationResult:
        """Continues from a mask (H, W): forgets the clicks, and later ones change only the component under them.

        Raises:
            InputError: The mask has another shape than the image or is not binary.
        """
        image, states = self._ready()
        states.append(SessionState.start(image.shape, mask))
        return self.result

    def predict(
        self,
        image: np.ndarray,
        clicks: Sequence[Click],
        previous_mask: np.ndarray | None = None,
    ) -> SegmentationResult:
        """The answer to all clicks in their order; leaves the session as it is.

        Args:
            image: As `set_image` takes it.
            clicks: May be empty: then the answer is the previous mask, or an empty one.
            previous_mask: (H, W) to continue from.

        Raises:
            InputError: For an image, click or mask that cannot be used.
        """
        prepared = prepare_image(image)
        state = SessionState.start(prepared.shape, previous_mask)
        for click in check_clicks(clicks, prepared.shape):
            state = step(self.model, [(prepared, state, click)], self.config)[0]
        return SegmentationResult(state.mask, state.probability)

    @property
    def clicks(self) -> tuple[Click, ...]:
        """The clicks since the image or the last mask was set."""
        return self._ready()[1][-1].clicks

    @property
    def state(self) -> SessionState:
        """What the session knows now."""
        return self._ready()[1][-1]

    @property
    def result(self) -> SegmentationResult:
        """The present mask and probability; empty before the first click."""
        state = self.state
        return SegmentationResult(state.mask, state.probability)

    def _ready(self) -> tuple[PreparedImage, list[SessionState]]:
        if self._image is None:
            raise InputError("no image is set: call set_image first")
        return self._image, self._states
