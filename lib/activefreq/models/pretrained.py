"""Published ImageNet weights of encoders, from files in the formats that people have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch

from activefreq.errors import CheckpointError
from activefreq.models.efficientnet import EfficientNetEncoder
from activefreq.models.prompts import IMAGE_MEAN, IMAGE_STD

_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def load_efficientnet_lite(encoder: EfficientNetEncoder, path: Path) -> None:
    """Loads EfficientNet-Lite weights as `efficientnet-lite-pytorch` names them (`efficientnet-lite0-57934424.pth`).

    These networks expect pixels in [-1, 1]; the stem is rescaled so that it takes ImageNet-normalized ones.

    Raises:
        CheckpointError: The file is no such network's.
    """
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        renamed = rename_efficientnet_lite(weights, [len(stage) for stage in encoder.blocks])
        stem = renamed["conv_stem.weight"]
        scale = torch.tensor(IMAGE_STD) / 0.5
        shift = (torch.tensor(IMAGE_MEAN) - 0.5) / 0.5
        # BN(stem(x)) with x = (p - 0.5) / 0.5 is BN'(stem'(y)) with y = (p - mean) / std: exact but at the border.
        renamed["bn1.running_mean"] = renamed["bn1.running_mean"] - (stem * shift.view(1, 3, 1, 1)).sum((1, 2, 3))
        renamed["conv_stem.weight"] = stem * scale.view(1, 3, 1, 1)
        result = encoder.load_state_dict(renamed, strict=False)
    except (OSError, RuntimeError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{path} does not hold EfficientNet-Lite weights that fit: {error}") from error
    missing = [name for name in result.missing_keys if not name.startswith("prompt.")]
    if missing:
        raise CheckpointError(f"{path} lacks {len(missing)} weights of the encoder, {missing[0]} the first")


def rename_efficientnet_lite(weights: Mapping[str, torch.Tensor], depths: list[int]) -> dict[str, torch.Tensor]:
    """The same tensors under timm's names, without the classifier's head.

    Args:
        depths: Number of blocks in each stage, to turn a running number into (stage, block).
    """
    places = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]
    renamed = {}
    for name, value in weights.items():
        match = re.match(r"_blocks\.(\d+)\.(\w+)\.(.+)", name)
        if match:
            number, part, rest = int(match[1]), match[2], match[3]
            names = _EXPANDED if f"_blocks.{number}._expand_conv.weight" in weights else _PLAIN
            stage, block = places[number]
            renamed[f"blocks.{stage}.{block}.{names[part]}.{rest}"] = value
        elif name.startswith("_conv_stem."):
            renamed["conv_stem." + name.removeprefix("_conv_stem.")] = value
        elif name.startswith("_bn0."):
            renamed["bn1." + name.removeprefix("_bn0.")] = value
    return renamed
