"""The refine layer: a small network that redraws the part of the mask around the last click.

Source: the paper's section 3.3 and equation 15, after FocalClick (Chen et al., CVPR 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import roi_align

from activefreq.errors import InputError


class RefinerOutput(NamedTuple):
    """All (B, 1, R, R). `logits` is the answer, `detail` says in logits where it replaces `coarse`."""

    logits: torch.Tensor
    detail: torch.Tensor
    coarse: torch.Tensor


@dataclass(frozen=True)
class RefinerConfig:
    """Channels of the refine layer; 32 in FocalClick. Raises `InputError` for less than one."""

    channels: int = 32

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise InputError(f"channels must be at least 1, not {self.channels!r}")


class ConvBlock(nn.Sequential):
    """Conv + BN + ReLU (equation 15)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class XConvBlock(nn.Sequential):
    """Depth-wise 3x3 Conv + 1x1 Conv + BN + ReLU (equation 15)."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )


class Refiner(nn.Module):
    """Refines coarse logits inside a focus box.

    Args of forward:
        image: (B, 3, R, R), the focus crop, ImageNet-normalized.
        disks: (B, 2, R, R), positive and negative clicks of the focus crop.
        feature: (B, F, h, w), the coarse network's feature of the whole target crop.
        coarse: (B, 1, S, S), its logits.
        boxes: (B, 4) float, the focus boxes (y0, x0, y1, x1) as fractions of the target crop.
    """

    def __init__(self, feature_channels: int, config: RefinerConfig = RefinerConfig()) -> None:
        super().__init__()
        channels = config.channels
        self.stem = ConvBlock(6, channels, 3, stride=2)
        self.before = nn.Sequential(XConvBlock(channels), XConvBlock(channels))
        self.feature = ConvBlock(feature_channels, channels, 1)
        self.after = nn.Sequential(XConvBlock(channels), XConvBlock(channels))
        self.prediction = nn.Conv2d(channels, 1, 3, padding=1)
        self.detail = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(
        self,
        image: torch.Tensor,
        disks: torch.Tensor,
        feature: torch.Tensor,
        coarse: torch.Tensor,
        boxes: torch.Tensor,
    ) -> RefinerOutput:
        size = (image.shape[2], image.shape[3])
        region = align(coarse, boxes, size)
        x = self.before(self.stem(torch.cat([image, disks, torch.sigmoid(region)], dim=1)))
        quarter = (max(size[0] // 4, 1), max(size[1] // 4, 1))
        focus = self.feature(align(feature, boxes, quarter))
        x = self.after(x + resize(focus, (x.shape[2], x.shape[3])))
        prediction = resize(self.prediction(x), size)
        detail = resize(self.detail(x), size)
        gate = torch.sigmoid(detail)
        return RefinerOutput(prediction * gate + region * (1 - gate), detail, region)


def align(maps: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """RoIAlign of one box a map: (B, C, h, w) and (B, 4) fractional (y0, x0, y1, x1) to (B, C, *size).

    In mixed precision too it computes, and answers, in float32: boxes in half precision would be off by whole pixels.
    """
    height, width = maps.shape[2:]
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    corners = boxes.to(maps.dtype)
    scaled = torch.stack(
        [corners[:, 1] * width, corners[:, 0] * height, corners[:, 3] * width, corners[:, 2] * height], dim=1
    )
    index = torch.arange(maps.shape[0], device=maps.device, dtype=maps.dtype)[:, None]
    # One sample a bin: the bins are never larger than a pixel of the map by much, and four samples cost four times.
    return roi_align(maps, torch.cat([index, scaled], dim=1), size, sampling_ratio=1, aligned=True)


def resize(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(B, C, h, w) to (B, C, *size), bilinear."""
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
