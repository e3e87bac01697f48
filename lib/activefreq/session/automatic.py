"""A first mask without any click: what the coarse pass answers when nobody has said where the object is."""

from __future__ import annotations

import torch
from torch.nn import functional

from activefreq.models.interactive import InteractiveModel
from activefreq.models.prompts import PROMPT_CHANNELS
from activefreq.session.state import PreparedImage, SessionState, read_only


def automatic_state(model: InteractiveModel, image: PreparedImage) -> SessionState:
    """The state of a session that begins with the model's own mask; later clicks may change all of it.

    Args:
        model: In evaluation mode, on any device. Nothing promises that it was trained without clicks: measure it.
        image: The whole of it is the target crop; there is no click to refine around.
    """
    device = next(model.parameters()).device
    size = (model.config.input_size, model.config.input_size)
    with torch.inference_mode():
        rgb = torch.from_numpy(image.rgb.copy()).permute(2, 0, 1)[None]
        resized = functional.interpolate(rgb, size=size, mode="bilinear", align_corners=False, antialias=True)
        prompt = torch.zeros(1, PROMPT_CHANNELS, *size)
        coarse = model.coarse(resized.to(device), prompt.to(device))
        probability = functional.interpolate(
            torch.sigmoid(coarse.logits.float()).cpu(),
            size=image.shape,
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )
    return SessionState((), read_only(probability[0, 0].clamp(0.0, 1.0).numpy()), progressive=False)
