"""What every encoder is given beside the image: the prompt channels."""

from __future__ import annotations

import torch
from torch import nn

PROMPT_CHANNELS = 3
"""Previous probability, positive disks, negative disks: in this order, all in [0, 1]."""

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class ImageNormalization(nn.Module):
    """Subtracts ImageNet's mean and divides by its standard deviation: (B, 3, H, W) in [0, 1] to the same shape."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGE_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (image - self.mean) / self.std


def prompt_stem(out_channels: int, *, kernel_size: int, stride: int) -> nn.Conv2d:
    """A convolution of the prompt that is added to an image stem's output.

    A stem over the concatenation of image and prompt is the same map, if it pads its input alike; keeping the two apart
    lets an image stem take published weights. It starts at zero, so that a pretrained encoder starts as what it was.
    """
    conv = nn.Conv2d(PROMPT_CHANNELS, out_channels, kernel_size, stride=stride, padding=kernel_size // 2, bias=False)
    nn.init.zeros_(conv.weight)
    return conv
