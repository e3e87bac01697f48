"""Fine-tuning of a served checkpoint on the few labels that people have saved.

The fine-tuned weights replace the served ones only if a validation through the click session says that they are
not worse, and they do so at once: MONAI Label stops a training by killing it. Over rounds of labelling and fine-tuning
no image that a checkpoint was trained on becomes one that it is validated on, unless there is no other: what is held
out is chosen by a hash of its name, and a fine-tuned checkpoint names the images that it has seen.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from activefreq.data.parts import position_of
from activefreq.data.samples import SampleSource
from activefreq.errors import InputError
from activefreq.models.checkpoint import Checkpoint, save_checkpoint
from activefreq.models.interactive import InteractiveModel
from activefreq.session.segmenter import resolve_device
from activefreq.training.batches import Mixture
from activefreq.training.config import OptimizerConfig, StageConfig, TrainingConfig
from activefreq.training.distributed import world_size
from activefreq.training.engine import Progress, TrainingRun
from activefreq.training.memory import CachedPairs
from activefreq.training.provenance import provenance
from activefreq.training.validation import ValidationResult

UNPROMPTED_SHARE = 0.4
"""Of the batches of first clicks that are not looked at again: 8 % of the views. What people label is one kind of
object, which the answer to no click can then be about; which image they are offered next depends on it."""


@dataclass(frozen=True)
class FinetuneConfig:
    """A fine-tuning.

    Attributes:
        epochs: Rounds over the training images.
        views: Random views of each image in an epoch.
        batch_size: Views in an optimizer step; no more than an epoch has.
        validation_share: Share of the groups (patients, or images) that is held out.
        patience: Validations without an improvement after which it ends early; None for never. One follows each epoch.
        validation_images: At most so many held-out images are clicked on.
        validation_clicks: Clicks on each.
        validation_batch_size: Held-out images that are clicked on at once.
        learning_rate: Peak of the rate.
        precision: "float32", or "bfloat16" or "float16" for autocast.
        workers: Threads that prepare batches ahead.
    """

    epochs: int = 30
    views: int = 4
    batch_size: int = 4
    validation_share: float = 0.2
    patience: int | None = None
    validation_images: int = 24
    validation_clicks: int = 5
    validation_batch_size: int = 8
    learning_rate: float = 1e-4
    precision: str = "float32"
    seed: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        for name in (
            "epochs",
            "views",
            "batch_size",
            "validation_images",
            "validation_clicks",
            "validation_batch_size",
        ):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.validation_share < 1:
            raise InputError(f"validation_share must be at least 0 and below 1, not {self.validation_share}")
        if self.patience is not None and self.patience < 1:
            raise InputError(f"patience must be at least 1 or None, not {self.patience}")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise InputError(f"learning_rate must be a positive number, not {self.learning_rate}")


@dataclass(frozen=True)
class FinetuneProgress:
    """What a listener is told after every step.

    Attributes:
        step, steps: Steps done, and planned.
        epoch: Epochs begun.
        loss: Total loss of the step.
        validation: Set on steps after which the model was validated.
        published: True if weights of this fine-tuning have been published, after this step or an earlier one.
    """

    step: int
    steps: int
    epoch: int
    loss: float
    validation: ValidationResult | None = None
    published: bool = False


@dataclass(frozen=True)
class FinetuneResult:
    """What came of a fine-tuning.

    Attributes:
        published: True if the new weights have replaced the old ones.
        reason: What the validation said, in a sentence.
        before: Validation of the checkpoint that it began with.
        best: The best validation after it, whether or not it was good enough.
        validated_on: "held-out groups", or "held-out slices" or "training images" where there was too little to hold
            out more.
        training, validation: Names of the samples.
        steps, epochs: Steps and whole epochs done.
        stopped: True if a stop request or the patience ended it early.
        losses: Mean total loss of each epoch.
        origin: What the weights came from beside samples and settings, see `provenance`.
    """

    published: bool
    reason: str
    before: ValidationResult
    best: ValidationResult | None
    validated_on: str
    training: tuple[str, ...]
    validation: tuple[str, ...]
    steps: int
    epochs: int
    stopped: bool
    losses: tuple[float, ...]
    origin: Mapping[str, Any]

    def stats(self) -> dict[str, Any]:
        """The same as plain JSON values; no NaN or infinity among them."""
        return {
            "published": self.published,
            "reason": self.reason,
            "miou_before": [round(value, 4) for value in self.before.miou],
            "miou_after": None if self.best is None else [round(value, 4) for value in self.best.miou],
            "validated_on": self.validated_on,
            "training": list(self.training),
            "validation": list(self.validation),
            "steps": self.steps,
            "epochs": self.epochs,
            "stopped": self.stopped,
            "loss": [round(value, 4) for value in self.losses],
        }


def finetune(
    checkpoint: Checkpoint,
    samples: SampleSource,
    config: FinetuneConfig = FinetuneConfig(),
    *,
    publish: Path | None = None,
    device: str | torch.device = "auto",
    listener: Callable[[FinetuneProgress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> FinetuneResult:
    """Trains on the samples, beginning with a checkpoint, and publishes what did not get worse.

    Args:
        checkpoint: Usually the one that is served; it is not changed.
        samples: One is enough.
        publish: The file that weights replace, atomically, as soon as their validation is the best so far and no worse
            than the checkpoint's own; None writes nothing.
        device: "auto", "cpu", "cuda" or "cuda:N".
        listener: Told after every step; what it raises ends the fine-tuning.
        stop: Asked after every step. On True the fine-tuning ends there.

    However it ends, also by an error or a kill, the best weights that were validated until then stay published.

    Raises:
        InputError: A sample's files cannot be used.
        ActiveFreqError: The loss stopped being a number.
        OSError: The weights cannot be written.
    """
    seen = tuple(checkpoint.info.get("finetuned", {}).get("images", ()))
    training, validation, validated_on = hold_out(samples, config.validation_share, seen=seen, seed=config.seed)
    # Each of several processes has to have a view.
    most = max(len(training) * config.views, world_size())
    config = replace(config, batch_size=min(config.batch_size, most))
    steps_per_epoch = math.ceil(len(training) * config.views / config.batch_size)
    plan = _plan(checkpoint.model, config, steps_per_epoch)
    run = TrainingRun(
        copy.deepcopy(checkpoint.model),
        plan,
        Mixture([CachedPairs(training)]),
        CachedPairs(validation),
        device=resolve_device(device),
        session=checkpoint.session,
    )
    origin = provenance(run.device)
    before = run.validate()
    best = _Best(before)
    published = False
    epoch_losses: list[list[float]] = []

    def after_step(progress: Progress) -> None:
        nonlocal published
        epoch = math.ceil(progress.step / steps_per_epoch)
        if len(epoch_losses) < epoch:
            epoch_losses.append([])
        epoch_losses[-1].append(float(progress.losses.total))
        if progress.validation is not None and best.judge(progress.validation) and publish is not None:
            images = list(dict.fromkeys((*seen, *training.names)))
            notes = {"images": images, "miou": progress.validation.miou, "config": asdict(config), **origin}
            info = {**checkpoint.info, "finetuned": notes}
            save_checkpoint(publish, Checkpoint(run.published, checkpoint.session, info))
            published = True
        if listener is not None:
            loss = epoch_losses[-1][-1]
            listener(FinetuneProgress(progress.step, plan.steps, epoch, loss, progress.validation, published))

    run.listener = after_step
    run.stop = lambda: best.unimproved == config.patience or (stop is not None and stop())
    run.run()
    return FinetuneResult(
        published=published,
        reason=_reason(before, best.validation, validated_on),
        before=before,
        best=best.validation,
        validated_on=validated_on,
        training=training.names,
        validation=validation.names,
        steps=run.step,
        epochs=run.step // steps_per_epoch,
        stopped=run.step < plan.steps,
        losses=tuple(sum(losses) / len(losses) for losses in epoch_losses),
        origin=origin,
    )


def hold_out(
    samples: SampleSource, share: float, *, seen: Collection[str] = (), seed: int = 0
) -> tuple[SampleSource, SampleSource, str]:
    """Divides samples into a training and a validation part, however few there are.

    Args:
        share: Of the groups, about, that is to be held out.
        seen: Names of samples that the network was trained on before; neither they nor their groups are held out.

    Returns:
        The parts and what the validation part consists of, see `FinetuneResult.validated_on`.
    """
    if not len(samples):
        raise InputError("there is no labelled image to train on")
    trained = frozenset(seen)
    for what, names in (("held-out groups", samples.groups), ("held-out slices", samples.names)):
        if share == 0 or len(set(names)) < 2:
            continue
        known = {name for name, sample in zip(names, samples.names, strict=True) if sample in trained}
        positions = {name: position_of(name, seed=seed) for name in names if name not in known}
        if not positions:
            continue
        ordered = sorted(positions, key=lambda name: (positions[name], name))
        held = {name for name in ordered if positions[name] < share} or {ordered[0]}
        if not known and len(held) == len(ordered):
            held.remove(ordered[-1])
        inside = [index for index, name in enumerate(names) if name not in held]
        outside = [index for index, name in enumerate(names) if name in held]
        return samples.subset(inside), samples.subset(outside), what
    return samples, samples, "training images"


def _plan(model: InteractiveModel, config: FinetuneConfig, steps_per_epoch: int) -> TrainingConfig:
    steps = config.epochs * steps_per_epoch
    return TrainingConfig(
        model=model.config,
        stages=(StageConfig(steps, model.config.input_size),),
        batch_size=config.batch_size,
        seed=config.seed,
        # The average reaches back over about an epoch or two, so that also short runs leave their start behind.
        optimizer=OptimizerConfig(
            learning_rate=config.learning_rate,
            warmup=min(10, steps),
            average=1 - 1 / max(10, min(steps_per_epoch, 100)),
        ),
        unprompted_share=UNPROMPTED_SHARE,
        validate_every=steps_per_epoch,
        validation_images=config.validation_images,
        validation_clicks=config.validation_clicks,
        validation_batch_size=config.validation_batch_size,
        save_every=0,
        precision=config.precision,
        frozen_statistics=True,
        workers=config.workers,
    )


class _Best:
    """The best validation of a fine-tuning so far.

    Attributes:
        validation: None before the first one.
        unimproved: Validations since the best one.
    """

    def __init__(self, before: ValidationResult) -> None:
        self._before = before
        self.validation: ValidationResult | None = None
        self.unimproved = 0

    def judge(self, validation: ValidationResult) -> bool:
        """Whether this is the best one, and no worse than the one before the fine-tuning."""
        self.unimproved += 1
        if self.validation is not None and validation.score <= self.validation.score:
            return False
        self.validation, self.unimproved = validation, 0
        return validation.score >= self._before.score


def _reason(before: ValidationResult, best: ValidationResult | None, validated_on: str) -> str:
    if best is None:
        return "it ended before its first validation"
    outcome = "it did not get worse" if best.score >= before.score else "it got worse"
    return (
        f"{outcome}: mean IoU over {len(before.miou)} clicks on {validated_on} ({before.images}) was "
        f"{before.score:.4f} before and is {best.score:.4f} after"
    )
