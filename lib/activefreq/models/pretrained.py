"""Published ImageNet weights of encoders, from files in the formats that people have."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from activefreq.errors import CheckpointError, InputError
from activefreq.models.efficientnet import EfficientNetEncoder
from activefreq.models.hrnet import HRNetEncoder
from activefreq.models.mix_transformer import MixTransformer
from activefreq.models.prompts import IMAGE_MEAN, IMAGE_STD
from activefreq.models.weights_file import in_a_line, load_weights

_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}

# (original, Hugging Face, here): patterns with the stage's and the block's number; here both are counted from 0.
_MIT_STAGE = (
    ("patch_embed{stage}.proj", "patch_embeddings.{index}.proj", "embed.proj"),
    ("patch_embed{stage}.norm", "patch_embeddings.{index}.layer_norm", "embed.norm"),
    ("norm{stage}", "layer_norm.{index}", "norm"),
)
_MIT_BLOCK = (
    ("norm1", "layer_norm_1", "norm1"),
    ("attn.q", "attention.self.query", "attn.q"),
    ("attn.kv", "attention.self.kv", "attn.kv"),
    ("attn.sr", "attention.self.sr", "attn.sr"),
    ("attn.norm", "attention.self.layer_norm", "attn.norm"),
    ("attn.proj", "attention.output.dense", "attn.proj"),
    ("norm2", "layer_norm_2", "norm2"),
    ("mlp.fc1", "mlp.dense1", "mlp.fc1"),
    ("mlp.dwconv.dwconv", "mlp.dwconv.dwconv", "mlp.dwconv"),
    ("mlp.fc2", "mlp.dense2", "mlp.fc2"),
)


def load_encoder(encoder: nn.Module, path: Path) -> None:
    """Loads published ImageNet weights into an encoder of any kind that has some.

    Args:
        encoder: A `MixTransformer` (of SegFormer's shapes, such as MiT-B0), `EfficientNetEncoder` or `HRNetEncoder`.
            Its convolution of the prompt stays as it is.
        path: A file in the formats that the kind's own function takes.

    Raises:
        CheckpointError: The file is not there, or is no such network's.
        InputError: The encoder is of another kind.
    """
    if isinstance(encoder, MixTransformer):
        load_mix_transformer(encoder, path)
    elif isinstance(encoder, EfficientNetEncoder):
        load_efficientnet_lite(encoder, path)
    elif isinstance(encoder, HRNetEncoder):
        load_hrnet(encoder, path)
    else:
        raise InputError(f"no published weights are known for an encoder of the kind {type(encoder).__name__}")


def load_mix_transformer(encoder: MixTransformer, path: Path) -> None:
    """Loads the weights of a published MiT of the encoder's shape, such as MiT-B0.

    Args:
        path: The authors' file (`mit_b0.pth`), or Hugging Face's (`nvidia/mit-b0`): `pytorch_model.bin` or
            `model.safetensors`. A classification head is left out.

    Raises:
        CheckpointError: The file is no such network's.
    """
    try:
        weights = _read(path)
        renamed = rename_mix_transformer(weights, [len(stage.blocks) for stage in encoder.stages])
        result = encoder.load_state_dict(renamed, strict=False)
    except Exception as error:  # a file of any other kind can fail in any way
        raise CheckpointError(f"{path} does not hold weights of this Mix Transformer: {in_a_line(error)}") from error
    _refuse_missing(path, result.missing_keys)


def rename_mix_transformer(weights: Mapping[str, torch.Tensor], depths: list[int]) -> dict[str, torch.Tensor]:
    """The same tensors under the names of `MixTransformer`.

    Args:
        weights: Under the authors' names, or Hugging Face's with or without what stands before "encoder.".
        depths: Number of blocks in each stage.
    """
    found = {name.rpartition("encoder.")[2]: value for name, value in weights.items()}
    for name in [name for name in found if ".self.key." in name]:
        parts = [found.pop(name.replace(".self.key.", f".self.{part}.")) for part in ("key", "value")]
        found[name.replace(".self.key.", ".self.kv.")] = torch.cat(parts)
    renamed = {}
    for index, depth in enumerate(depths):
        names = [
            (original.format(stage=index + 1), hugging.format(index=index), own)
            for original, hugging, own in _MIT_STAGE
        ]
        names += [
            (f"block{index + 1}.{block}.{original}", f"block.{index}.{block}.{hugging}", f"blocks.{block}.{own}")
            for block in range(depth)
            for original, hugging, own in _MIT_BLOCK
        ]
        for original, hugging, own in names:
            for kind in ("weight", "bias"):
                for name in (f"{original}.{kind}", f"{hugging}.{kind}"):
                    if name in found:
                        renamed[f"stages.{index}.{own}.{kind}"] = found[name]
    return renamed


def load_efficientnet_lite(encoder: EfficientNetEncoder, path: Path) -> None:
    """Loads EfficientNet-Lite weights as `efficientnet-lite-pytorch` names them (`efficientnet-lite0-57934424.pth`).

    These networks expect pixels in [-1, 1]; the stem is rescaled so that it takes ImageNet-normalized ones.

    Raises:
        CheckpointError: The file is no such network's.
    """
    try:
        weights = _read(path)
        renamed = rename_efficientnet_lite(weights, [len(stage) for stage in encoder.blocks])
        stem = renamed["conv_stem.weight"]
        scale = torch.tensor(IMAGE_STD) / 0.5
        shift = (torch.tensor(IMAGE_MEAN) - 0.5) / 0.5
        # BN(stem(x)) with x = (p - 0.5) / 0.5 is BN'(stem'(y)) with y = (p - mean) / std: exact but at the border.
        renamed["bn1.running_mean"] = renamed["bn1.running_mean"] - (stem * shift.view(1, 3, 1, 1)).sum((1, 2, 3))
        renamed["conv_stem.weight"] = stem * scale.view(1, 3, 1, 1)
        result = encoder.load_state_dict(renamed, strict=False)
    except Exception as error:  # a file of any other kind can fail in any way
        raise CheckpointError(f"{path} does not hold EfficientNet-Lite weights that fit: {in_a_line(error)}") from error
    _refuse_missing(path, result.missing_keys)


def load_hrnet(encoder: HRNetEncoder, path: Path) -> None:
    """Loads the weights of timm's HRNet of the encoder's width (`hrnet_w18`: `model.safetensors` or a .pth file).

    The classifier and the modules before it are left out.

    Raises:
        CheckpointError: The file is no such network's.
    """
    try:
        result = encoder.network.load_state_dict(dict(_read(path)), strict=False)
    except Exception as error:  # a file of any other kind can fail in any way
        raise CheckpointError(f"{path} does not hold weights of this HRNet: {in_a_line(error)}") from error
    _refuse_missing(path, result.missing_keys)


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


def _read(path: Path) -> Mapping[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    content = load_weights(path)
    return content.get("state_dict", content)


def _refuse_missing(path: Path, names: Sequence[str]) -> None:
    missing = [name for name in names if not name.startswith("prompt.")]
    if missing:
        raise CheckpointError(f"{path} lacks {len(missing)} weights of the encoder, {missing[0]} the first")
