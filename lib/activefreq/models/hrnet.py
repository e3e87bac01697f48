"""HRNet-18: four resolutions kept side by side. The paper's variant 1.

Source: Wang et al., "Deep High-Resolution Representation Learning", TPAMI 2020; the encoder is timm's. The head is
HRNetV2's: all four maps at 1/4, side by side, through one 1x1 convolution. FocalClick puts an object-context module
on top.
"""

from __future__ import annotations

from dataclasses import dataclass

import timm
import torch
from torch import nn
from torch.nn import functional

from activefreq.models.coarse import CoarseOutput, to_size
from activefreq.models.prompts import prompt_stem


@dataclass(frozen=True)
class HRNetConfig:
    """timm's name of an HRNet, and the channels of the fused map."""

    encoder: str = "hrnet_w18"
    width: int = 128


class HRNetEncoder(nn.Module):
    """Features at 1/4, 1/8, 1/16 and 1/32; the prompt joins at the first convolution (1/2)."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.network = timm.create_model(
            name, features_only=True, feature_location="", out_indices=(1, 2, 3, 4), pretrained=False
        )
        self.channels = tuple(self.network.feature_info.channels())
        self.prompt = prompt_stem(self.network.conv1.out_channels, kernel_size=3, stride=2)

    def forward(self, image: torch.Tensor, prompt: torch.Tensor) -> list[torch.Tensor]:
        height, width = image.shape[2:]
        # Each resolution is doubled exactly to meet the next one.
        padding = (0, -width % 32, 0, -height % 32)
        image, prompt = functional.pad(image, padding), functional.pad(prompt, padding)
        network = self.network
        x = network.act1(network.bn1(network.conv1(image) + self.prompt(prompt)))
        x = network.act2(network.bn2(network.conv2(x)))
        return [
            feature[..., : -(-height // stride), : -(-width // stride)]
            for feature, stride in zip(network.stages(x), (4, 8, 16, 32), strict=True)
        ]


class HRNet(nn.Module):
    """Image and prompt in, logits and a feature map at 1/4 out; the arguments are those of `FreqFormer`."""

    def __init__(self, config: HRNetConfig = HRNetConfig()) -> None:
        super().__init__()
        self.encoder = HRNetEncoder(config.encoder)
        self.fuse = nn.Sequential(
            nn.Conv2d(sum(self.encoder.channels), config.width, 1, bias=False),
            nn.BatchNorm2d(config.width),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Conv2d(config.width, 1, 1)
        self.feature_channels = config.width

    def forward(self, image: torch.Tensor, prompt: torch.Tensor) -> CoarseOutput:
        features = self.encoder(image, prompt)
        size = features[0].shape[2:]
        feature = self.fuse(torch.cat([to_size(x, size) for x in features], dim=1))
        return CoarseOutput(to_size(self.classifier(feature), image.shape[2:]), feature)
