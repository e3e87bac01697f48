"""What a training does: frozen, written beside every checkpoint, read from YAML presets."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from activefreq.errors import InputError
from activefreq.models.config import ModelConfig
from activefreq.training.augmentation import AugmentationConfig
from activefreq.training.clicking import ClickSamplingConfig

PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class StageConfig:
    """A stretch of a training at one input size: progressive sizes spare a CPU most of the work.

    Attributes:
        steps: Optimizer steps.
        size: Side of the views in pixels.
    """

    steps: int
    size: int


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam or AdamW and its schedule.

    Attributes:
        learning_rate: Peak; the encoder has `encoder_factor` times it.
        schedule: "cosine" to zero over all steps, or "step": times 0.1 from `drop_at` (a share of all steps) on.
        warmup: Steps of linear growth from zero.
        clip: Largest norm of the gradient, or None.
        average: Decay a step of the averaged weights that are validated and published, or None for none.
    """

    name: str = "adamw"
    learning_rate: float = 5e-4
    encoder_factor: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    schedule: str = "cosine"
    drop_at: float = 50 / 120
    warmup: int = 100
    clip: float | None = 1.0
    average: float | None = 0.998


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses, see `losses`."""

    gamma: float = 2.0
    coarse: float = 1.0
    coarse_dice: float = 1.0
    refined: float = 1.0
    refined_dice: float = 0.5
    detail: float = 0.5


@dataclass(frozen=True)
class TrainingConfig:
    """One training.

    Attributes:
        batch_size: Views in an optimizer step, over all processes together.
        rounds: Probability of 0, 1, 2, ... rounds of clicks on the model's own errors.
        validate_every: Steps between validations through the session; 0 for only at the end.
        validation_images: At most so many images of the validation part, spread evenly.
        validation_clicks: Clicks of a validation.
        validation_batch_size: Images of a validation that are clicked on at once.
        save_every: Steps between checkpoints for resuming; 0 for only after validations and at the end.
        precision: "float32", or "bfloat16" or "float16" for autocast.
        frozen_statistics: Keep the running statistics of batch normalization as they are: a small data set's are
            worse than those of the weights that it begins with.
        workers: Threads that prepare batches ahead; the batches do not depend on it.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    stages: tuple[StageConfig, ...] = (StageConfig(1000, 128),)
    batch_size: int = 16
    seed: int = 0
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    clicks: ClickSamplingConfig = field(default_factory=ClickSamplingConfig)
    rounds: tuple[float, ...] = (0.35, 0.3, 0.2, 0.15)
    validate_every: int = 500
    validation_images: int = 100
    validation_clicks: int = 5
    validation_batch_size: int = 8
    save_every: int = 200
    precision: str = "float32"
    frozen_statistics: bool = False
    workers: int = 1

    @property
    def steps(self) -> int:
        """Optimizer steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def size_at(self, step: int) -> int:
        """Side of the views of a step, counted from 0."""
        for stage in self.stages:
            if step < stage.steps:
                return stage.size
            step -= stage.steps
        return self.stages[-1].size


def load_preset(name_or_path: str, overrides: Mapping[str, str] | None = None) -> TrainingConfig:
    """A configuration from a preset's name or a YAML file.

    Args:
        overrides: Dotted keys and YAML values, such as {"optimizer.learning_rate": "1e-4"}.

    Raises:
        InputError: For a file, key or value that cannot be used.
    """
    path = Path(name_or_path)
    if not path.is_file():
        path = PRESETS / f"{name_or_path}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in PRESETS.glob("*.yaml")))
        raise InputError(f"no preset {name_or_path!r}: neither a file nor one of {names}")
    try:
        content = yaml.safe_load(path.read_text()) or {}
        for key, value in (overrides or {}).items():
            _set(content, key.split("."), yaml.safe_load(value))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} or an override of it is not YAML: {error}") from error
    return from_plain(TrainingConfig, content, where=path.name)


def _set(content: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        content = content.setdefault(key, {})
        if not isinstance(content, dict):
            raise InputError(f"{'.'.join(keys)} cannot be set: {key} is a value, not a group")
    content[keys[-1]] = value


def to_plain(value: Any) -> Any:
    """Dataclasses, mappings and tuples as dicts and lists, for YAML and JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def from_plain(kind: Any, content: Any, *, where: str = "") -> Any:
    """The inverse of `to_plain` for a dataclass or a field's type. Raises `InputError` naming the place."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(content, Mapping):
            raise InputError(f"{where} must be a group of settings, not {content!r}")
        hints = typing.get_type_hints(kind)
        unknown = sorted(set(content) - {item.name for item in dataclasses.fields(kind)})
        if unknown:
            raise InputError(f"{where} has no setting {', '.join(map(repr, unknown))}")
        return kind(**{key: from_plain(hints[key], item, where=f"{where}.{key}") for key, item in content.items()})
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if content is None and type(None) in arguments:
            return None
        return from_plain(next(part for part in arguments if part is not type(None)), content, where=where)
    if origin is tuple:
        if not isinstance(content, (list, tuple)):
            raise InputError(f"{where} must be a list, not {content!r}")
        kinds = [arguments[0]] * len(content) if arguments[1:] == (Ellipsis,) else list(arguments)
        if len(kinds) != len(content):
            raise InputError(f"{where} must have {len(kinds)} entries, not {len(content)}")
        return tuple(from_plain(part, item, where=where) for part, item in zip(kinds, content, strict=True))
    if kind is float and isinstance(content, (int, float, str)) and not isinstance(content, bool):
        try:
            return float(content)
        except ValueError:
            raise InputError(f"{where} must be a number, not {content!r}") from None
    if kind in (int, str, bool) and (not isinstance(content, kind) or (kind is int and isinstance(content, bool))):
        raise InputError(f"{where} must be of type {kind.__name__}, not {content!r}")
    return content
