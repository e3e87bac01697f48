"""What the model says of an image before anyone clicks.

A network that was trained with clicks alone is out of its depth without one. How good its answer is depends on
whether the object is the obvious thing in the picture: see docs/experiments.md.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from activefreq.models.interactive import InteractiveModel
from activefreq.models.prompts import PROMPT_CHANNELS
from activefreq.session.state import PreparedImage


def automatic_probability(model: InteractiveModel, image: PreparedImage) -> np.ndarray:
    """The coarse answer to no click at all.

    Args:
        model: In evaluation mode, on any device.
        image: Of any size.

    Returns:
        Foreground probability (H, W) float32 in [0, 1].
    """
    side = model.config.input_size
    device = next(model.parameters()).device
    with torch.inference_mode():
        rgb = torch.from_numpy(np.array(image.rgb)).permute(2, 0, 1)[None]
        rgb = _resize(rgb, (side, side)).contiguous().to(device)
        logits = model.coarse(rgb, torch.zeros(1, PROMPT_CHANNELS, side, side, device=device)).logits
        probability = _resize(torch.sigmoid(logits.float()).cpu(), image.shape)
    return probability[0, 0].clamp(0.0, 1.0).numpy()


def _resize(maps: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    shrinks = maps.shape[2] > shape[0] or maps.shape[3] > shape[1]
    return functional.interpolate(maps, size=shape, mode="bilinear", align_corners=False, antialias=shrinks)
