"""The whole network of a click: any backbone for the coarse pass and the refine layer for the local one."""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import nn

from activefreq.models.backbones import make_backbone
from activefreq.models.coarse import CoarseOutput
from activefreq.models.config import ModelConfig
from activefreq.models.prompts import ImageNormalization
from activefreq.models.refiner import Refiner, RefinerOutput


class InteractiveModel(nn.Module):
    """Stateless: what a click session does with it is in `activefreq.session`."""

    def __init__(self, config: ModelConfig = ModelConfig()) -> None:
        super().__init__()
        self.config = config
        self.normalize = ImageNormalization()
        self.backbone = make_backbone(config.backbone)
        self.refiner = Refiner(self.backbone.feature_channels, config.refiner)

    def at_size(self, size: int) -> InteractiveModel:
        """The same network, weights shared, for sessions at another size of its input: all else in proportion."""
        scale = size / self.config.input_size
        other = copy.copy(self)
        other.config = dataclasses.replace(
            self.config,
            input_size=size,
            refine_size=round(self.config.refine_size * scale),
            disk_radius=self.config.disk_radius * scale,
        )
        return other

    def coarse(self, image: torch.Tensor, prompt: torch.Tensor) -> CoarseOutput:
        """The first pass.

        Args:
            image: (B, 3, S, S) RGB in [0, 1].
            prompt: (B, 3, S, S), see `prompts.PROMPT_CHANNELS`.
        """
        return self.backbone(self.normalize(image), prompt)

    def refine(
        self, image: torch.Tensor, disks: torch.Tensor, coarse: CoarseOutput, boxes: torch.Tensor
    ) -> RefinerOutput:
        """The second pass, see `Refiner`.

        Args:
            image: (B, 3, R, R) RGB in [0, 1], the focus crop.
            disks: (B, 2, R, R), the clicks of the focus crop.
            boxes: (B, 4), focus boxes (y0, x0, y1, x1) as fractions of the target crop.
        """
        return self.refiner(self.normalize(image), disks, coarse.feature, coarse.logits, boxes)
