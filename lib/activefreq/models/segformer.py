"""SegFormer-B0 as FocalClick uses it: the published MiT-B0 and an all-MLP head. The paper's variant 2.

Source: Xie et al., "SegFormer", NeurIPS 2021; Chen et al., "FocalClick", CVPR 2022. Unlike in FocalClick the prompt
joins before the first stage, not after it, so that the decoder's finest map sees the clicks too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from activefreq.models.coarse import CoarseOutput, to_size
from activefreq.models.mix_transformer import MIT_B0, MixTransformer


@dataclass(frozen=True)
class SegFormerConfig:
    """The head of a SegFormer.

    Attributes:
        width: Channels to which each stage is mapped, and of the fused map.
        dropout: Share of the fused map's channels that a training step drops.
    """

    width: int = 256
    dropout: float = 0.1


class SegFormer(nn.Module):
    """Image and prompt in, logits and a feature map at 1/4 out; the arguments are those of `FreqFormer`."""

    def __init__(self, config: SegFormerConfig = SegFormerConfig()) -> None:
        super().__init__()
        self.encoder = MixTransformer(MIT_B0)
        channels = self.encoder.channels
        self.heads = nn.ModuleList(nn.Conv2d(count, config.width, 1) for count in channels)
        self.fuse = nn.Sequential(
            nn.Conv2d(len(channels) * config.width, config.width, 1, bias=False),
            nn.BatchNorm2d(config.width),
            nn.ReLU(inplace=True),
        )
        self.dropout = nn.Dropout2d(config.dropout)
        self.classifier = nn.Conv2d(config.width, 1, 1)
        self.feature_channels = config.width

    def forward(self, image: torch.Tensor, prompt: torch.Tensor) -> CoarseOutput:
        features = self.encoder(image, prompt)
        size = features[0].shape[2:]
        heads = [to_size(head(x), size) for head, x in zip(self.heads, features, strict=True)]
        feature = self.fuse(torch.cat(heads[::-1], dim=1))
        return CoarseOutput(to_size(self.classifier(self.dropout(feature)), image.shape[2:]), feature)
