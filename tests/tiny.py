"""A small network of random weights: it segments nothing sensible, but always the same."""

from __future__ import annotations

import torch

from activefreq.models.backbones import BackboneConfig
from activefreq.models.config import ModelConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.models.refiner import RefinerConfig


def make_tiny_model(seed: int) -> InteractiveModel:
    """A network that takes a few hundredths of a second a click."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = BackboneConfig("freqformer", {"width": 16, "dims": (16, 16, 8, 8), "base_size": 64})
        return InteractiveModel(ModelConfig(backbone, RefinerConfig(channels=8), input_size=64, refine_size=64)).eval()
