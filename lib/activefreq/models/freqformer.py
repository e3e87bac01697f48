"""FreqFormer: an encoder, four linear heads, and the FreqNet decoder.

Source: the paper's section 3.2 and Table 1. Where it is silent, the reading here is the one whose parameters
and multiply-accumulates fit its Table 3: the four heads are fused at 1/16 by a 3x3 convolution, and the four
Freq layers work at 1/16, 1/8, 1/4 and 1/2. Each step up adds the encoder's map of that resolution, as U-Net
does, because a fusion at 1/16 alone would throw the encoder's fine maps away.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from activefreq.models.coarse import CoarseOutput, to_size
from activefreq.models.efficientnet import EfficientNetEncoder
from activefreq.models.mix_transformer import MIT_B0, PAPER, MixTransformer
from activefreq.models.spectral import FreqBlock, FreqModule

ENCODERS = ("mit-paper", "mit-b0", "efficientnet-lite0", "efficientnet-lite1")


@dataclass(frozen=True)
class FreqFormerConfig:
    """The parts of a FreqFormer.

    Attributes:
        encoder: One of `ENCODERS`; "mit-paper" is Table 1's.
        width: Channels of each head; the fused map has `dims[0]`.
        dims: Channels of the four Freq layers, at 1/16, 1/8, 1/4, 1/2.
        ratio: Hidden width of the feed-forward networks, in multiples of their dims.
        base_size: Input size at whose spectra the weights are stored; the paper's input is 448.
        transform: "fourier" or "haar" (Table 7).
        axes: The three transforms, None for one that is switched off (Table 6); "chw" for the 3D DFT.
    """

    encoder: str = "mit-paper"
    width: int = 256
    dims: tuple[int, int, int, int] = (256, 128, 64, 32)
    ratio: int = 4
    base_size: int = 448
    transform: str = "fourier"
    axes: tuple[str | None, str | None, str | None] = ("hw", "hc", "wc")


def make_encoder(name: str) -> MixTransformer | EfficientNetEncoder:
    """An encoder with random weights by its name in `ENCODERS`."""
    if name == "mit-paper":
        return MixTransformer(PAPER)
    if name == "mit-b0":
        return MixTransformer(MIT_B0)
    if name in ("efficientnet-lite0", "efficientnet-lite1"):
        return EfficientNetEncoder("tf_" + name.replace("-", "_"))
    raise ValueError(f"unknown encoder {name!r}: one of {', '.join(ENCODERS)}")


class FreqFormer(nn.Module):
    """Image and prompt in, logits and a feature map out.

    Args of forward:
        image: (B, 3, H, W), ImageNet-normalized; any H, W of at least 32.
        prompt: (B, 3, H, W), see `prompts.PROMPT_CHANNELS`.
    """

    def __init__(self, config: FreqFormerConfig = FreqFormerConfig()) -> None:
        super().__init__()
        self.config = config
        self.encoder = make_encoder(config.encoder)
        channels = self.encoder.channels
        self.heads = nn.ModuleList(nn.Conv2d(count, config.width, 1) for count in channels)
        self.fuse = nn.Sequential(
            nn.Conv2d(4 * config.width, config.dims[0], 3, padding=1, bias=False),
            nn.GroupNorm(8, config.dims[0]),
            nn.ReLU(inplace=True),
        )
        self.layers = nn.ModuleList(
            FreqBlock(
                dim,
                FreqModule(
                    dim,
                    (config.base_size // stride, config.base_size // stride),
                    transform=config.transform,
                    axes=config.axes,
                ),
                ratio=config.ratio,
            )
            for dim, stride in zip(config.dims, (16, 8, 4, 2), strict=True)
        )
        # Convolved before the map is doubled: a quarter of the arithmetic of the other order.
        self.narrow = nn.ModuleList(
            nn.Conv2d(config.dims[index], config.dims[index + 1], 3, padding=1) for index in range(3)
        )
        self.skips = nn.ModuleList(nn.Conv2d(channels[stage], config.dims[dim], 1) for stage, dim in ((1, 1), (0, 2)))
        self.classifier = nn.Conv2d(config.dims[3], 1, 1)
        self.feature_channels = config.dims[2]

    def forward(self, image: torch.Tensor, prompt: torch.Tensor) -> CoarseOutput:
        features = self.encoder(image, prompt)
        size = features[2].shape[2:]
        heads = [to_size(head(x), size) for head, x in zip(self.heads, features, strict=True)]
        x = self.layers[0](self.fuse(torch.cat(heads, dim=1)))
        x = to_size(self.narrow[0](x), features[1].shape[2:]) + self.skips[0](features[1])
        x = self.layers[1](x)
        x = to_size(self.narrow[1](x), features[0].shape[2:]) + self.skips[1](features[0])
        feature = self.layers[2](x)
        half = ((image.shape[2] + 1) // 2, (image.shape[3] + 1) // 2)
        x = self.layers[3](to_size(self.narrow[2](feature), half))
        return CoarseOutput(to_size(self.classifier(x), image.shape[2:]), feature)
