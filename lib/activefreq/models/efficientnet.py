"""EfficientNet-Lite as an encoder: a small convolutional one for which ImageNet weights under Apache-2.0 exist.

Source: Tan and Le, "EfficientNet", ICML 2019, in its Lite form without squeeze-and-excitation; the network is timm's.
"""

from __future__ import annotations

import timm
import torch
from torch import nn

from activefreq.models.prompts import prompt_stem


class EfficientNetEncoder(nn.Module):
    """Features of a timm EfficientNet at 1/4, 1/8, 1/16 and 1/32; the prompt joins at the stem (1/2).

    timm's stem pads inputs of even sizes at their ends alone, as TensorFlow does; the prompt's stem pads both sides, so
    that it sees each place one pixel of the input earlier. The shipped weights were trained with that.

    The arguments and the returned list of forward are those of `mix_transformer.MixTransformer`.
    """

    def __init__(self, name: str = "tf_efficientnet_lite0") -> None:
        super().__init__()
        network = timm.create_model(name, features_only=True, out_indices=(1, 2, 3, 4), pretrained=False)
        self.channels = tuple(network.feature_info.channels())
        self.conv_stem = network.conv_stem
        self.bn1 = network.bn1
        self.blocks = network.blocks
        # The last block of each stage whose output is a feature, in the network's own counting.
        self.taps = tuple(int(info["stage"]) - 1 for info in network.feature_info.get_dicts())
        self.prompt = prompt_stem(self.conv_stem.out_channels, kernel_size=3, stride=2)

    def forward(self, image: torch.Tensor, prompt: torch.Tensor) -> list[torch.Tensor]:
        stem = self.conv_stem(image)
        x = self.bn1(stem + self.prompt(prompt)[..., : stem.shape[2], : stem.shape[3]])
        features = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.taps:
                features.append(x)
        return features
