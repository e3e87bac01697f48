"""Residual connections, which a layer prepared for inference computes together with its own sum."""

from __future__ import annotations

import torch
from torch import nn


def add_layer(residual: torch.Tensor, layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """residual + layer(x), in one pass over memory if the layer's class says that it `adds`."""
    if getattr(layer, "adds", False):
        return layer(x, residual)
    return residual + layer(x)
