"""A network whose answers are written down beforehand, to test what the session makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from activefreq.models.coarse import CoarseOutput
from activefreq.models.config import ModelConfig, SessionConfig
from activefreq.models.refiner import RefinerOutput, align

WHOLE = SessionConfig(target_expansion=1000.0, refine=False)
"""Every target crop is the whole image, and nothing is refined: what the network says arrives pixel by pixel."""


class CannedModel(nn.Module):
    """Answers the n-th coarse pass with the n-th mask, and keeps the prompts that it was shown.

    Args:
        answers: (S, S) bool each; S is the size of a crop.
        refined: What the refine pass answers, (S, S) bool; None leaves the coarse answer as it is.
    """

    def __init__(self, answers: Sequence[np.ndarray], refined: np.ndarray | None = None) -> None:
        super().__init__()
        side = answers[0].shape[0]
        self.config = ModelConfig(input_size=side, refine_size=side, disk_radius=1.0)
        self.anchor = nn.Parameter(torch.zeros(()))
        self.answers = list(answers)
        self.refined = refined
        self.prompts: list[np.ndarray] = []
        self.boxes: list[np.ndarray] = []

    def coarse(self, image: torch.Tensor, prompt: torch.Tensor) -> CoarseOutput:
        self.prompts.append(prompt[0].numpy().copy())
        logits = _logits(self.answers.pop(0))
        return CoarseOutput(logits, logits)

    def refine(
        self, image: torch.Tensor, disks: torch.Tensor, coarse: CoarseOutput, boxes: torch.Tensor
    ) -> RefinerOutput:
        self.boxes.append(boxes[0].numpy().copy())
        region = align(coarse.logits, boxes, (image.shape[2], image.shape[3]))
        logits = region if self.refined is None else _logits(self.refined)
        return RefinerOutput(logits, torch.zeros_like(logits), region)


def _logits(mask: np.ndarray) -> torch.Tensor:
    return torch.where(torch.from_numpy(mask), 8.0, -8.0)[None, None]


def block(side: int, top: int, left: int, bottom: int, right: int) -> np.ndarray:
    """(side, side) bool with one rectangle."""
    mask = np.zeros((side, side), bool)
    mask[top:bottom, left:right] = True
    return mask
