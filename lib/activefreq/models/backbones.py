"""Coarse networks by name. AcSelect, refinement and the session know nothing of what is behind one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from torch import nn

from activefreq.models.freqformer import FreqFormer, FreqFormerConfig


@dataclass(frozen=True)
class BackboneConfig:
    """A backbone's name in `BACKBONES` and the options that differ from that name's own."""

    name: str = "freqformer"
    options: Mapping[str, Any] = field(default_factory=dict)


def _freqformer(base: FreqFormerConfig) -> Callable[..., nn.Module]:
    def make(**options: Any) -> nn.Module:
        return FreqFormer(replace(base, **{name: _frozen(value) for name, value in options.items()}))

    return make


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


BACKBONES: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {
        "freqformer": _freqformer(FreqFormerConfig()),
        "freqformer-b0": _freqformer(FreqFormerConfig(encoder="mit-b0")),
        "freqformer-lite": _freqformer(
            FreqFormerConfig(encoder="efficientnet-lite0", width=128, dims=(128, 96, 64, 32), ratio=2, base_size=256)
        ),
    }
)
"""Each makes a module with `forward(image, prompt) -> CoarseOutput` and an int `feature_channels`."""


def make_backbone(config: BackboneConfig) -> nn.Module:
    """A backbone with random weights. Raises `ValueError` for an unknown name."""
    if config.name not in BACKBONES:
        raise ValueError(f"unknown backbone {config.name!r}: one of {', '.join(sorted(BACKBONES))}")
    return BACKBONES[config.name](**config.options)
