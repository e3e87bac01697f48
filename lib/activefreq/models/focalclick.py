"""FocalClick's SegFormer-B0 as its authors' code computes it: what the speed of a click is compared with.

Source: Chen et al., "FocalClick", CVPR 2022, whose code is not part of this project. This is their network put together
from the same parts: transformers' port of the SegFormer that they build on, with its attention written out, the all-MLP
head on tokens, the side embedding after the first stage, and RoIAlign of the whole feature with as many samples as
it chooses. Nothing is folded, laid out or packed beforehand. It has random weights and is for timing alone; the
backbone "segformer-b0" is the one to train.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import roi_align

from activefreq.models.backbones import BackboneConfig
from activefreq.models.coarse import CoarseOutput
from activefreq.models.config import ModelConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.models.refiner import Refiner, RefinerOutput, resize

WIDTH = 256


def focalclick_segformer() -> InteractiveModel:
    """The network in evaluation mode. Raises `ImportError` without transformers (requirements-dev.txt)."""
    model = InteractiveModel(ModelConfig(BackboneConfig("segformer-b0")))
    model.backbone = _Backbone()
    model.refiner = _Refiner(WIDTH)
    return model.eval()


class _Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        from transformers import SegformerConfig, SegformerModel
        from transformers.models.segformer.modeling_segformer import SegformerDecodeHead

        options: dict[str, Any] = {"num_labels": 1, "attn_implementation": "eager"}
        config = SegformerConfig(hidden_sizes=[32, 64, 160, 256], decoder_hidden_size=WIDTH, **options)
        self.encoder = SegformerModel(config)
        self.head = SegformerDecodeHead(config)
        self.side = nn.Conv2d(3, 32, 7, stride=4, padding=3)
        self.feature_channels = WIDTH

    def forward(self, image: torch.Tensor, prompt: torch.Tensor) -> CoarseOutput:
        first, *others = self.encoder(image, output_hidden_states=True).hidden_states
        features: list[torch.Tensor] = []
        handle = self.head.classifier.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
        logits = self.head([first + self.side(prompt), *others])
        handle.remove()
        logits = functional.interpolate(logits, size=image.shape[2:], mode="bilinear", align_corners=True)
        return CoarseOutput(logits, features[0])


class _Refiner(Refiner):
    def forward(
        self,
        image: torch.Tensor,
        disks: torch.Tensor,
        feature: torch.Tensor,
        coarse: torch.Tensor,
        boxes: torch.Tensor,
    ) -> RefinerOutput:
        size = (image.shape[2], image.shape[3])
        region = _align(coarse, boxes, size)
        x = self.before(self.stem(torch.cat([image, disks, torch.sigmoid(region)], dim=1)))
        focus = self.feature(_align(feature, boxes, (feature.shape[2], feature.shape[3])))
        x = self.after(x + resize(focus, (x.shape[2], x.shape[3])))
        prediction, detail = resize(self.prediction(x), size), resize(self.detail(x), size)
        gate = torch.sigmoid(detail)
        return RefinerOutput(prediction * gate + region * (1 - gate), detail, region)


def _align(maps: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    height, width = maps.shape[2:]
    corners = boxes[:, [1, 0, 3, 2]] * torch.tensor([width, height, width, height], device=boxes.device)
    return roi_align(maps, list(corners.split(1)), size, aligned=True)
