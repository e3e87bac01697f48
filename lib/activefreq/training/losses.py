"""Losses on logits (B, 1, H, W) against targets of the same shape in {0, 1}; each returns a scalar.

Source: normalized focal loss from Sofiiuk et al., "AdaptIS", ICCV 2019, as RITM and FocalClick use it; the boundary
weight and the loss on the detail map from FocalClick (Chen et al., CVPR 2022, section 3.3).
"""

from __future__ import annotations

import torch
from torch.nn import functional


def focal_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    *,
    gamma: float = 2.0,
    alpha: float = 0.5,
    normalize: bool = True,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Normalized focal loss.

    Every pixel's cross-entropy is weighted by (1 - p_true)^gamma. Normalized, the weights of an image are scaled to a
    mean of one, so that an image that is nearly right still teaches as much as a wrong one. Below a mean weight of
    1e-6 they are scaled up less: such an image is finished.

    Args:
        gamma: 0 makes every weight one: with `normalize` off and alpha 0.5 that is half the binary cross-entropy.
        alpha: Share of the foreground; the background has 1 - alpha.
        weight: (B, 1, H, W), further weights of the pixels.
    """
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if gamma > 0:
        with torch.no_grad():
            focus = (1.0 - torch.exp(-cross_entropy)).clamp(0.0, 1.0) ** gamma
            if normalize:
                focus = focus / focus.mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)
        cross_entropy = focus * cross_entropy
    balance = target * alpha + (1.0 - target) * (1.0 - alpha)
    if weight is not None:
        balance = balance * weight
    return (balance * cross_entropy).mean()


def dice_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """One minus the soft Dice overlap, smoothed by one pixel, averaged over the images."""
    probability = torch.sigmoid(logits)
    overlap = (probability * target).sum(dim=(1, 2, 3))
    total = probability.sum(dim=(1, 2, 3)) + target.sum(dim=(1, 2, 3))
    return (1.0 - (2.0 * overlap + 1.0) / (total + 1.0)).mean()


def boundary_weight(target: torch.Tensor, *, width: int = 7, emphasis: float = 1.5) -> torch.Tensor:
    """One everywhere, and 1 + emphasis within `width` // 2 pixels of the target's boundary."""
    near = functional.max_pool2d(target, width, 1, width // 2) + functional.max_pool2d(
        1.0 - target, width, 1, width // 2
    )
    return 1.0 + emphasis * (near - 1.0)


def click_weight(places: torch.Tensor, side: int, *, emphasis: torch.Tensor, reach: float) -> torch.Tensor:
    """One far from a click, and 1 + emphasis at it, falling off as a Gaussian: (B, 1, side, side) float32.

    What a late click is about is a few pixels, and so is what its answer may spoil beside them: a mean over the whole
    crop hardly sees either.

    Args:
        places: (B, 2) float32, the clicks' (y, x).
        emphasis: (B,) float32.
        reach: Distance in pixels at which 1 / e of the emphasis is left.
    """
    along = torch.arange(side, dtype=torch.float32, device=places.device)
    y, x = torch.exp(-(((along - places.T[..., None]) / reach) ** 2))
    return (1.0 + emphasis[:, None, None] * y[:, :, None] * x[:, None, :])[:, None]


def detail_target(target: torch.Tensor, *, factor: int = 8) -> torch.Tensor:
    """Where a mask loses detail when it is shrunk by `factor` and enlarged again, dilated by one pixel."""
    size = (target.shape[2], target.shape[3])
    small = (max(size[0] // factor, 1), max(size[1] // factor, 1))
    shrunk = functional.interpolate(target, small, mode="bilinear", align_corners=False, antialias=True)
    smooth = functional.interpolate(shrunk, size, mode="bilinear", align_corners=False)
    lost = ((smooth > 0.5) != (target > 0.5)).to(target.dtype)
    return functional.max_pool2d(lost, 3, 1, 1)
