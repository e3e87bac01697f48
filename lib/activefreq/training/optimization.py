"""The optimizer and its rate."""

from __future__ import annotations

import math

import torch

from activefreq.models.interactive import InteractiveModel
from activefreq.training.config import TrainingConfig


def make_optimizer(model: InteractiveModel, config: TrainingConfig) -> torch.optim.Optimizer:
    """Adam or AdamW; norms, biases and spectral weights do not decay, the encoder has a rate of its own."""
    options = config.optimizer
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        factor = options.encoder_factor if ".encoder." in name and ".prompt." not in name else 1.0
        # Spectral weights rest at one, where they change nothing: pulling them to zero would silence their channels.
        decay = options.weight_decay if parameter.ndim > 1 and ".filters." not in name else 0.0
        groups.setdefault((factor, decay), []).append(parameter)
    parameters = [
        {"params": members, "weight_decay": decay, "factor": factor, "lr": options.learning_rate * factor}
        for (factor, decay), members in groups.items()
    ]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[options.name]
    return kind(parameters, lr=options.learning_rate, betas=options.betas)


def learning_rate(step: int, config: TrainingConfig) -> float:
    """The rate of a step, counted from 0: a pure function, so that resuming needs no scheduler's state."""
    options = config.optimizer
    grown = min((step + 1) / options.warmup, 1.0) if options.warmup else 1.0
    if options.schedule == "cosine":
        return options.learning_rate * grown * 0.5 * (1 + math.cos(math.pi * step / max(config.steps, 1)))
    return options.learning_rate * grown * (0.1 if step >= options.drop_at * config.steps else 1.0)
