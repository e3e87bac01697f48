"""Any 2D segmentation network of MONAI as a backbone: its class name and its options are all that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from activefreq.models.coarse import CoarseOutput
from activefreq.models.prompts import PROMPT_CHANNELS


@dataclass(frozen=True)
class MonaiNetworkConfig:
    """A network by name.

    Attributes:
        network: A class of `monai.networks.nets` that takes `spatial_dims`, `in_channels` and `out_channels`, and
            answers a map with a map of the same size.
        options: Its other arguments.
        width: Channels of its answer, from which the logits are read.
        multiple: Its input is padded to a multiple of this many pixels.
    """

    network: str = "UNet"
    options: Mapping[str, Any] = field(
        default_factory=lambda: {"channels": (16, 32, 64, 128, 256), "strides": (2, 2, 2, 2), "num_res_units": 2}
    )
    width: int = 16
    multiple: int = 32


class MonaiNetwork(nn.Module):
    """Image and prompt side by side in; logits and the network's own answer as the feature map out.

    Raises:
        ValueError: MONAI has no such network, or the network does not take these options.
    """

    def __init__(self, config: MonaiNetworkConfig = MonaiNetworkConfig()) -> None:
        super().__init__()
        # Imported here because it takes seconds, which the other backbones need not spend.
        kind = getattr(import_module("monai.networks.nets"), config.network, None)
        if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
            raise ValueError(f"monai.networks.nets has no network {config.network!r}")
        try:
            self.network = kind(
                spatial_dims=2, in_channels=3 + PROMPT_CHANNELS, out_channels=config.width, **config.options
            )
        except TypeError as error:
            raise ValueError(f"MONAI's {config.network} cannot be made with these options: {error}") from error
        self.multiple = config.multiple
        self.classifier = nn.Conv2d(config.width, 1, 1)
        self.feature_channels = config.width

    def forward(self, image: torch.Tensor, prompt: torch.Tensor) -> CoarseOutput:
        height, width = image.shape[2:]
        padding = (0, -width % self.multiple, 0, -height % self.multiple)
        feature = self.network(functional.pad(torch.cat([image, prompt], dim=1), padding))[..., :height, :width]
        return CoarseOutput(self.classifier(feature), feature)
