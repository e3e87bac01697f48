"""What a training does: frozen, written beside every checkpoint, read from YAML presets."""

from __future__ import annotations

import dataclasses
import math
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
from activefreq.training.opinions import OpinionConfig
from activefreq.training.structures import StructureConfig

PRESETS = Path(__file__).parent / "presets"

OPTIMIZERS = ("adam", "adamw")
SCHEDULES = ("cosine", "step")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def _require(holds: bool, name: str, rule: str, value: object) -> None:
    if not holds:
        raise InputError(f"{name} must be {rule}, not {value!r}")


@dataclass(frozen=True)
class StageConfig:
    """A stretch of a training at one input size: progressive sizes spare a CPU most of the work.

    Attributes:
        steps: Optimizer steps.
        size: Side of the views in pixels.
    """

    steps: int
    size: int

    def __post_init__(self) -> None:
        _require(self.steps >= 1, "steps", "at least 1", self.steps)
        _require(self.size >= 32, "size", "at least 32", self.size)


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam or AdamW and its schedule.

    Attributes:
        name: One of `OPTIMIZERS`.
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

    def __post_init__(self) -> None:
        _require(self.name in OPTIMIZERS, "name", f"one of {', '.join(OPTIMIZERS)}", self.name)
        _require(self.schedule in SCHEDULES, "schedule", f"one of {', '.join(SCHEDULES)}", self.schedule)
        _require(0 < self.learning_rate < math.inf, "learning_rate", "a number above 0", self.learning_rate)
        for name in ("encoder_factor", "weight_decay"):
            _require(0 <= getattr(self, name) < math.inf, name, "a number of at least 0", getattr(self, name))
        _require(all(0 <= beta < 1 for beta in self.betas), "betas", "two numbers in [0, 1)", self.betas)
        _require(0 <= self.drop_at <= 1, "drop_at", "from 0 to 1", self.drop_at)
        _require(self.warmup >= 0, "warmup", "at least 0", self.warmup)
        _require(self.clip is None or self.clip > 0, "clip", "above 0 or null", self.clip)
        _require(self.average is None or 0 <= self.average < 1, "average", "in [0, 1) or null", self.average)


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses, see `losses`.

    Attributes:
        click: Further weight of the pixels around the last click, at it; 0 for none.
        click_reach: Pixels of the network's input from the click at which 1 / e of that is left.
        click_after: Rounds of clicks before that click from which on it has that weight.
    """

    gamma: float = 2.0
    coarse: float = 1.0
    coarse_dice: float = 1.0
    refined: float = 1.0
    refined_dice: float = 0.5
    detail: float = 0.5
    click: float = 0.0
    click_reach: float = 16.0
    click_after: int = 0

    def __post_init__(self) -> None:
        for name in ("gamma", "coarse", "coarse_dice", "refined", "refined_dice", "detail", "click"):
            _require(0 <= getattr(self, name) < math.inf, name, "a number of at least 0", getattr(self, name))
        _require(0 < self.click_reach < math.inf, "click_reach", "a number above 0", self.click_reach)
        _require(self.click_after >= 0, "click_after", "at least 0", self.click_after)


@dataclass(frozen=True)
class TrainingConfig:
    """One training.

    Attributes:
        encoder_weights: Published weights that the encoder begins with: "auto" for those that a Python package brings,
            a file's path, or None for random ones.
        batch_size: Views in an optimizer step, over all processes together.
        local_steps: Steps that each of several processes takes by itself before weights and optimizers are averaged
            (local SGD: Stich, ICLR 2019); with 1 they average the gradients of each step. States are saved, models
            validated, and runs ended only after an average: `validate_every` and `save_every` must be multiples of it.
        rounds: Probability of 0, 1, 2, ... rounds of clicks on the model's own errors.
        target_expansion: Range of a session's setting of that name; a checkpoint should not depend on it.
        closer_share: Share of the batches of first clicks in which the second look at an answer is learned from, where
            the session takes one; in the others it is the first.
        unprompted_share: Share of the other batches of first clicks in which the answer to no click at all is learned
            from.
        validate_every: Steps between validations through the session; 0 for only at the end.
        validation_images: At most so many images of the validation part, spread evenly.
        validation_clicks: Clicks of a validation.
        validation_batch_size: Images of a validation that are clicked on at once.
        save_every: Steps between checkpoints for resuming; 0 for only after validations and at the end.
        precision: "float32", or "bfloat16" or "float16" for autocast; "auto" for what the device has instructions for.
        frozen_statistics: Keep the running statistics of batch normalization as they are: a small data set's are
            worse than those of the weights that it begins with.
        workers: Threads that prepare batches ahead; the batches do not depend on it.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    encoder_weights: str | None = None
    stages: tuple[StageConfig, ...] = (StageConfig(1000, 128),)
    batch_size: int = 16
    local_steps: int = 1
    seed: int = 0
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    clicks: ClickSamplingConfig = field(default_factory=ClickSamplingConfig)
    opinions: OpinionConfig = field(default_factory=OpinionConfig)
    structures: StructureConfig = field(default_factory=StructureConfig)
    rounds: tuple[float, ...] = (0.35, 0.3, 0.2, 0.15)
    target_expansion: tuple[float, float] = (1.2, 2.4)
    closer_share: float = 0.4
    unprompted_share: float = 0.0
    validate_every: int = 500
    validation_images: int = 100
    validation_clicks: int = 5
    validation_batch_size: int = 8
    save_every: int = 200
    precision: str = "float32"
    frozen_statistics: bool = False
    workers: int = 1

    def __post_init__(self) -> None:
        _require(len(self.stages) >= 1, "stages", "one or more", self.stages)
        _require(self.batch_size >= 1, "batch_size", "at least 1", self.batch_size)
        _require(self.local_steps >= 1, "local_steps", "at least 1", self.local_steps)
        _require(0 <= self.seed < 1 << 63, "seed", "from 0 to 2**63 - 1", self.seed)
        sums = bool(self.rounds) and min(self.rounds) >= 0 and abs(sum(self.rounds) - 1) < 1e-6
        _require(sums, "rounds", "probabilities that sum to 1", self.rounds)
        low, high = self.target_expansion
        for name in ("closer_share", "unprompted_share"):
            _require(0 <= getattr(self, name) <= 1, name, "from 0 to 1", getattr(self, name))
        _require(1 <= low <= high, "target_expansion", "a range of numbers of at least 1", self.target_expansion)
        for name in ("validate_every", "save_every", "workers"):
            _require(getattr(self, name) >= 0, name, "at least 0", getattr(self, name))
        for name in ("validate_every", "save_every"):
            rule = f"a multiple of the {self.local_steps} local_steps"
            _require(getattr(self, name) % self.local_steps == 0, name, rule, getattr(self, name))
        for name in ("validation_images", "validation_clicks", "validation_batch_size"):
            _require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        _require(self.precision in PRECISIONS, "precision", f"one of {', '.join(PRECISIONS)}", self.precision)
        # Each process would scale its loss, and pass over steps that overflow, by itself.
        mixed = self.local_steps > 1 and self.precision == "float16"
        _require(not mixed, "precision", "float32 or bfloat16 with local_steps", self.precision)

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
        if not isinstance(content, dict):
            raise InputError(f"{path} holds no settings of a training: it must be a group of them")
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


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Dotted keys of two plain configurations whose values differ; how batches are prepared does not count."""
    found = []
    for key in sorted({*one, *other}):
        left, right = one.get(key), other.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += [f"{key}.{name}" for name in differences(left, right)]
        elif left != right and key != "workers":
            found.append(key)
    return found


def from_plain(kind: Any, content: Any, *, where: str = "") -> Any:
    """The inverse of `to_plain` for a dataclass or a field's type. Raises `InputError` naming the place."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(content, Mapping):
            raise InputError(f"{where} must be a group of settings, not {content!r}")
        hints = typing.get_type_hints(kind)
        unknown = sorted(set(content) - {item.name for item in dataclasses.fields(kind)})
        if unknown:
            raise InputError(f"{where} has no setting {', '.join(map(repr, unknown))}")
        values = {key: from_plain(hints[key], item, where=f"{where}.{key}") for key, item in content.items()}
        try:
            return kind(**values)
        except InputError as error:
            raise InputError(f"{where}.{error}") from None
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
