"""Coarse networks by name. AcSelect, refinement and the session know nothing of what is behind one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from torch import nn

from activefreq.errors import InputError
from activefreq.models.freqformer import FreqFormer, FreqFormerConfig
from activefreq.models.hrnet import HRNet, HRNetConfig
from activefreq.models.monai_network import MonaiNetwork, MonaiNetworkConfig
from activefreq.models.segformer import SegFormer, SegFormerConfig


@dataclass(frozen=True)
class BackboneConfig:
    """A backbone's name in `BACKBONES` and the options that differ from that name's own."""

    name: str = "freqformer"
    options: Mapping[str, Any] = field(default_factory=dict)


def _maker(kind: Callable[[Any], nn.Module], base: Any) -> Callable[..., nn.Module]:
    def make(**options: Any) -> nn.Module:
        return kind(replace(base, **{name: _frozen(value) for name, value in options.items()}))

    return make


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


BACKBONES: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {
        "freqformer": _maker(FreqFormer, FreqFormerConfig()),
        "freqformer-b0": _maker(FreqFormer, FreqFormerConfig(encoder="mit-b0")),
        "freqformer-lite": _maker(
            FreqFormer,
            FreqFormerConfig(encoder="efficientnet-lite0", width=128, dims=(128, 96, 64, 32), ratio=2, base_size=256),
        ),
        "segformer-b0": _maker(SegFormer, SegFormerConfig()),
        "hrnet-18": _maker(HRNet, HRNetConfig()),
        "monai": _maker(MonaiNetwork, MonaiNetworkConfig()),
    }
)
"""Each makes a module with `forward(image, prompt) -> CoarseOutput` and an int `feature_channels`."""


def make_backbone(config: BackboneConfig) -> nn.Module:
    """A backbone with random weights. Raises `InputError` for an unknown name, or options that it does not have."""
    if config.name not in BACKBONES:
        raise InputError(f"unknown backbone {config.name!r}: one of {', '.join(sorted(BACKBONES))}")
    try:
        return BACKBONES[config.name](**config.options)
    except TypeError as error:
        raise InputError(f"the backbone {config.name} cannot be made with {dict(config.options)}: {error}") from error
