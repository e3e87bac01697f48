"""The same functions with less work: linear steps that are done as one, or in another order.

Resizing and RoIAlign average within channels, with weights that sum to one; a 1x1 convolution sums over channels, pixel
by pixel. So the two can change places. The answers change by rounding. Only answering uses these forms: training
learns the layers that they are made of.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from activefreq.models.freqformer import FreqFormer
from activefreq.models.refiner import Refiner, RefinerOutput, resize
from activefreq.models.segformer import SegFormer


class BorderedConvolution(nn.Module):
    """A convolution, and what the biases of the layers before it would have added.

    Beyond the border the second layer reads zeros, not biases: its sum over them differs along the border.
    """

    def __init__(self, conv: nn.Conv2d, biases: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.biases = biases

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) + self.biases(x.new_ones(1, 1, *x.shape[2:]))


def compose(heads: Sequence[nn.Conv2d], fuse: nn.Conv2d) -> nn.Module:
    """One module for 1x1 convolutions whose answers, side by side, are the input of another convolution.

    Args:
        heads: In the order in which `fuse` reads them; each with a bias.
        fuse: Any kernel size and zero padding; stride 1.

    Returns:
        From the inputs of the heads side by side to the answer of `fuse`.
    """
    with torch.no_grad():
        parts = fuse.weight.double().split([head.out_channels for head in heads], dim=1)
        products = [
            torch.einsum("omyx,mi->oiyx", part, head.weight.double().flatten(1))
            for part, head in zip(parts, heads, strict=True)
        ]
        weight = torch.cat(products, dim=1)
        taps = torch.stack(
            [torch.einsum("omyx,m->oyx", part, head.bias.double()) for part, head in zip(parts, heads, strict=True)]
        ).sum(0)
        if not any(fuse.padding):
            added = taps.sum((1, 2))
            return _convolution(weight, added if fuse.bias is None else added + fuse.bias.double(), fuse)
        return BorderedConvolution(_convolution(weight, fuse.bias, fuse), _convolution(taps[:, None], None, fuse))


def compose_heads(backbone: nn.Module) -> None:
    """Makes one convolution of the heads and the fusion of a backbone that has them, in place.

    The heads of FreqFormer and SegFormer are 1x1 convolutions without an activation. They are resized, put side by
    side and fused by a convolution. With the resizing first, heads and fusion are one convolution of the encoder's own
    channels, which are fewer.
    """
    if not isinstance(backbone, (FreqFormer, SegFormer)):
        return
    heads = list(backbone.heads)
    # SegFormer reads its heads from the last to the first.
    backbone.fuse[0] = compose(heads if isinstance(backbone, FreqFormer) else heads[::-1], backbone.fuse[0])
    backbone.heads = nn.ModuleList(nn.Identity() for _ in heads)


class ComposedRefiner(nn.Module):
    """A trained `Refiner` that narrows the feature where that is cheaper, before or after RoIAlign, and computes both
    heads as one convolution."""

    def __init__(self, refiner: Refiner) -> None:
        super().__init__()
        self.stem = refiner.stem
        self.before = refiner.before
        self.feature = nn.Sequential(refiner.feature[0], refiner.feature[1])
        self.after = refiner.after
        prediction, detail = refiner.prediction, refiner.detail
        with torch.no_grad():
            self.heads = _convolution(
                torch.cat([prediction.weight, detail.weight]), torch.cat([prediction.bias, detail.bias]), prediction
            )

    def forward(
        self,
        image: torch.Tensor,
        disks: torch.Tensor,
        feature: torch.Tensor,
        coarse: torch.Tensor,
        boxes: torch.Tensor,
    ) -> RefinerOutput:
        size = (image.shape[2], image.shape[3])
        region = read_box(coarse, boxes, size)
        x = self.before(self.stem(torch.cat([image, disks, torch.sigmoid(region)], dim=1)))
        quarter = (max(size[0] // 4, 1), max(size[1] // 4, 1))
        if feature.shape[2] * feature.shape[3] > quarter[0] * quarter[1]:
            focus = self.feature(read_box(feature, boxes, quarter))
        else:
            focus = read_box(self.feature(feature), boxes, quarter)
        x = self.after(x + resize(functional.relu(focus), (x.shape[2], x.shape[3])))
        prediction, detail = resize(self.heads(x).contiguous(), size).split(1, dim=1)
        gate = torch.sigmoid(detail)
        return RefinerOutput(prediction * gate + region * (1 - gate), detail, region)


def read_box(maps: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """What `refiner.align` answers, row by row and then column by column, channels last."""
    height, width = maps.shape[2:]
    parts = []
    for part, (top, left, bottom, right) in zip(maps.permute(0, 2, 3, 1), boxes.tolist(), strict=True):
        first, second, share = _between(top, bottom, height, size[0], maps.device)
        rows = torch.lerp(part.index_select(0, first), part.index_select(0, second), share[:, None, None])
        first, second, share = _between(left, right, width, size[1], maps.device)
        parts.append(torch.lerp(rows.index_select(1, first), rows.index_select(1, second), share[:, None]))
    return torch.stack(parts).permute(0, 3, 1, 2)


def _between(
    low: float, high: float, length: int, count: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For the centres of `count` bins from `low` to `high`, as shares of `length` pixels: the two neighbours, and how
    far from the first to the second one."""
    centres = torch.arange(count, device=device, dtype=torch.float32) + 0.5
    positions = (low * length - 0.5 + centres * ((high - low) * length / count)).clamp(0, length - 1)
    first = positions.long()
    return first, (first + 1).clamp(max=length - 1), positions - first


def _convolution(weight: torch.Tensor, bias: torch.Tensor | None, like: nn.Conv2d) -> nn.Conv2d:
    made = nn.Conv2d(weight.shape[1], weight.shape[0], like.kernel_size, padding=like.padding, bias=bias is not None)
    made.weight.copy_(weight)
    if bias is not None:
        made.bias.copy_(bias)
    return made.to(like.weight.device).requires_grad_(False)
