"""Small trainings: made-up pictures with their masks, and a network and a recipe that take seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from synthetic import rgb_blob

from activefreq.models.backbones import BackboneConfig
from activefreq.models.config import ModelConfig
from activefreq.models.refiner import RefinerConfig
from activefreq.training.config import OptimizerConfig, StageConfig, TrainingConfig


@dataclass(frozen=True, eq=False)
class Picture:
    image: np.ndarray
    target: np.ndarray


def blob_pictures(count: int) -> list[Picture]:
    return [Picture(*rgb_blob(seed)) for seed in range(count)]


def quick_config(**changes: Any) -> TrainingConfig:
    """Eight steps at two sizes; batch normalization in the encoder and in the refine layer."""
    backbone = BackboneConfig("freqformer-lite", {"width": 16, "dims": (16, 16, 8, 8), "base_size": 64})
    settings: dict[str, Any] = {
        "model": ModelConfig(backbone, RefinerConfig(channels=8), input_size=64, refine_size=64),
        "stages": (StageConfig(3, 32), StageConfig(5, 64)),
        "batch_size": 4,
        "optimizer": OptimizerConfig(learning_rate=1e-3, warmup=2, average=0.8),
        "validate_every": 4,
        "validation_images": 3,
        "validation_clicks": 2,
        "save_every": 2,
        "workers": 0,
    }
    return TrainingConfig(**{**settings, **changes})
