"""What the model says of an image before anyone clicks.

A network that was trained with clicks alone is out of its depth without one; trainings have `unprompted_share` for
that. How good its answer is depends on whether the object is the obvious thing in the picture: see
docs/experiments.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from activefreq.models.coarse import to_size
from activefreq.models.interactive import InteractiveModel
from activefreq.session.resampling import resample
from activefreq.session.state import PreparedImage
from activefreq.session.step import unprompted_question


@dataclass(frozen=True, eq=False)
class AutomaticAnswer:
    """The coarse answer to no click at all.

    Attributes:
        probability: Foreground probability (H, W) float32 in [0, 1].
        embedding: (2 F,) float32: the decoder's F features, first their mean over the image, then their mean over what
            the model sees of the object, each of length 1. Alike for images that are alike to the model; only those of
            one model can be compared.
    """

    probability: np.ndarray
    embedding: np.ndarray


def automatic_answer(model: InteractiveModel, image: PreparedImage) -> AutomaticAnswer:
    """Asks the model without a click.

    Args:
        model: In evaluation mode, on any device.
        image: Of any size.
    """
    device = next(model.parameters()).device
    with torch.inference_mode():
        question = unprompted_question(image, model.config)
        output = model.coarse(question.rgb.to(device), question.prompt.to(device))
        probability = torch.sigmoid(output.logits.float())
        embedding = embed(output.feature, probability)[0].cpu().numpy()
        resized = resample(probability.cpu(), image.shape)
    return AutomaticAnswer(resized[0, 0].clamp(0.0, 1.0).numpy(), embedding)


def automatic_probability(model: InteractiveModel, image: PreparedImage) -> np.ndarray:
    """The probability of `automatic_answer` alone."""
    return automatic_answer(model, image).probability


def embed(feature: torch.Tensor, probability: torch.Tensor) -> torch.Tensor:
    """Embeddings of images, see `AutomaticAnswer`.

    Args:
        feature: (B, F, h, w), maps of the decoder (`CoarseOutput.feature`).
        probability: (B, 1, H, W), of the foreground.

    Returns:
        (B, 2 F).
    """
    feature = feature.float()
    weights = to_size(probability, feature.shape[2:])
    # A model that sees no object at all still says where it comes closest to seeing one.
    weights = weights / weights.sum((2, 3), keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    means = feature.mean((2, 3)), (feature * weights).sum((2, 3))
    return torch.cat([functional.normalize(mean, dim=1) for mean in means], dim=1)
