"""The one training engine, for scripts and for the MONAI Label trainer alike.

An Ignite engine runs the steps. Every batch, and everything random that is done with it, is a pure function of the
seed and the step, so that a state is the step, the weights and the optimizer, and a resumed run is the same run.

Several processes (torchrun, or whoever has initialized torch.distributed) divide each batch among themselves, and
average the gradients of each step, or the weights every so many steps.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from activefreq.errors import ActiveFreqError, InputError
from activefreq.models.config import SessionConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.training.batches import Batch, Mixture, PairSource, batches
from activefreq.training.config import PRECISIONS, TrainingConfig, differences, from_plain, to_plain
from activefreq.training.distributed import (
    GlobalBatchStatistics,
    any_of,
    average,
    rank,
    same_everywhere,
    total,
    world_size,
)
from activefreq.training.modes import start_training
from activefreq.training.objective import Passes, autocast, exercise_losses, make_exercise
from activefreq.training.optimization import learning_rate, make_optimizer
from activefreq.training.precision import resolve_precision
from activefreq.training.state import load_newest_state, save_state
from activefreq.training.validation import ValidationResult, validate


@dataclass(frozen=True)
class MeanLosses:
    """Losses of a step: means over the images of the global batch."""

    total: float
    coarse: float
    refined: float
    detail: float


@dataclass(frozen=True)
class Progress:
    """What listeners are told after a step.

    Attributes:
        step: Steps done.
        learning_rate: Of the step.
        validation: Set on steps after which the model was validated.
        best: True if that validation is the best so far.
    """

    step: int
    losses: MeanLosses
    learning_rate: float
    validation: ValidationResult | None = None
    best: bool = False


@dataclass
class TrainingRun:
    """A training that can be stopped anywhere and goes on exactly.

    Attributes:
        model: Is trained in place.
        config: What is done; its precision becomes the one that "auto" is on the device.
        sources: Training data and its weights.
        validation: Validation data, or empty for none.
        folder: Where the states are kept; None keeps none. Only the first process writes.
        device: Where this process computes.
        session: How sessions go, those of the training and those of its validation.
        listener: Told after every step, before the state is saved: what it writes is never behind the state. What it
            raises ends the training.
        stop: Asked after every step after which all processes have the same weights; True in any ends the run early.
        step: Steps done so far.
        best_score: The best validation's score so far.
    """

    model: InteractiveModel
    config: TrainingConfig
    sources: Mixture
    validation: PairSource = ()
    folder: Path | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    session: SessionConfig = field(default_factory=SessionConfig)
    listener: Callable[[Progress], None] | None = None
    stop: Callable[[], bool] | None = None
    step: int = field(default=0, init=False)
    best_score: float = field(default=-math.inf, init=False)

    def __post_init__(self) -> None:
        if world_size() > self.config.batch_size:
            raise InputError(f"a batch of {self.config.batch_size} is too small for {world_size()} processes")
        self.config = replace(self.config, precision=resolve_precision(self.config.precision, self.device))
        self.model.to(self.device).to(memory_format=torch.channels_last)
        decay = self.config.optimizer.average
        self._averaged = (
            None
            if decay is None
            else AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        )
        self._optimizer = make_optimizer(self.model, self.config)
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self.config.precision == "float16")
        self._passes: nn.Module = Passes(self.model)
        # Whether each process learns by itself, between averages of all of them.
        self._local = world_size() > 1 and self.config.local_steps > 1
        if world_size() > 1 and not self._local:
            # Buffers need no broadcast: the statistics that they hold are those of the global batch.
            self._passes = DistributedDataParallel(self._passes, forward_sync_buffers=False)

    @property
    def published(self) -> InteractiveModel:
        """The model that is validated and shipped: the averaged one, if weights are averaged."""
        return self.model if self._averaged is None else cast(InteractiveModel, self._averaged.module)

    def validate(self) -> ValidationResult:
        """Validates the published model."""
        return validate(
            self.published,
            self.validation,
            clicks=self.config.validation_clicks,
            limit=self.config.validation_images,
            config=self.session,
            batch_size=self.config.validation_batch_size,
        )

    def resume(self) -> bool:
        """Continues from the newest state of the folder that is whole; says whether there was one.

        Raises:
            InputError: The states are those of a training with another configuration.
            CheckpointError: There are states, but each is damaged.
        """
        found = None if self.folder is None else load_newest_state(self.folder)
        if found is None:
            return False
        step, state = found
        # Settings that did not exist when it was begun are what they are when nobody sets them.
        begun = to_plain(from_plain(TrainingConfig, state["config"], where=f"the training in {self.folder}"))
        other = differences(begun, to_plain(self.config))
        if other:
            raise InputError(f"the training in {self.folder} was begun with another {', '.join(other)}")
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        if self._averaged is not None:
            self._averaged.load_state_dict(state["averaged"])
        self.step = step
        self.best_score = state["best_score"]
        return True

    def save(self) -> None:
        """Writes the state atomically."""
        if self.folder is None or rank() > 0:
            return
        state: dict[str, Any] = {
            "config": to_plain(self.config),
            "best_score": self.best_score,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }
        if self._averaged is not None:
            state["averaged"] = self._averaged.state_dict()
        save_state(self.folder, self.step, state)

    def run(self) -> bool:
        """Runs the remaining steps; says whether all are done, or the run was stopped.

        Raises:
            ActiveFreqError: The loss, or its gradient, stopped being a number.
            InputError: The processes of this training do not begin with the same.
        """
        self._check_alike()
        if self.step >= self.config.steps:
            return True
        start = self.step
        engine = Engine(lambda _, batch: self._after_step(self._update(batch)))

        @engine.on(Events.ITERATION_COMPLETED)
        def end_early(engine: Engine) -> None:
            if self.stop is not None and self._agreed and any_of(self.stop(), self.device):
                engine.terminate()

        stream = batches(self.sources, self.config, start=start, rank=rank(), world=world_size())
        engine.run(stream, max_epochs=1, epoch_length=self.config.steps - start)
        if self.step < self.config.steps:
            self.save()
        return self.step == self.config.steps

    def _check_alike(self) -> None:
        """Raises `InputError` in each process if one has another state, data or arithmetic than the others."""
        if world_size() == 1:
            return
        known = {
            "step": self.step,
            "number of training pairs": self.sources.length,
            "number of validation images": len(self.validation),
            "precision": PRECISIONS.index(self.config.precision),
            "state": _fingerprint(self.model),
        }
        for name, value in known.items():
            if not same_everywhere(value, self.device):
                raise InputError(
                    f"the processes of this training begin with another {name}: they need one folder of data and one "
                    "of output, which all of them see"
                )

    def _update(self, batch: Batch) -> MeanLosses:
        start_training(self.model, frozen_statistics=self.config.frozen_statistics)
        # For networks with dropout.
        torch.manual_seed(_torch_seed(self.config.seed, self.step, rank()))
        rate = learning_rate(self.step, self.config)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["factor"]

        exercise = make_exercise(self.model, batch, self.config, self.device, self.session)
        together = GlobalBatchStatistics() if world_size() > 1 and not self._local else nullcontext()
        with together, autocast(self.device, self.config.precision):
            logits = self._passes(exercise)
        losses = exercise_losses(logits, exercise, self.config.losses)
        # Of the global batch; the processes' parts need not be of one size.
        share = len(batch.views) / self.config.batch_size
        parts = torch.stack([losses.total.detach(), losses.coarse, losses.refined, losses.detail])
        values = MeanLosses(*total(parts * share).tolist())
        if not math.isfinite(values.total):
            raise ActiveFreqError(f"the loss of step {self.step} is {values.total}")

        self._optimizer.zero_grad(set_to_none=True)
        # DistributedDataParallel takes the mean of the processes' gradients.
        self._scaler.scale(losses.total * (1.0 if self._local else share * world_size())).backward()
        self._scaler.unscale_(self._optimizer)
        clip = math.inf if self.config.optimizer.clip is None else self.config.optimizer.clip
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), clip))
        # With scaling a step whose gradients overflow is passed over; without, the weights would be lost.
        if not (math.isfinite(norm) or self._scaler.is_enabled()):
            raise ActiveFreqError(f"the gradient of step {self.step} is {norm}")
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._averaged is not None:
            self._averaged.update_parameters(self.model)
        self.step += 1
        if self._local and self._agreed:
            average(self._learnt(), share)
        return values

    @property
    def _agreed(self) -> bool:
        """Whether all processes have the same weights after this step."""
        return not self._local or self.step % self.config.local_steps == 0 or self.step == self.config.steps

    def _learnt(self) -> Iterator[torch.Tensor]:
        """All that differs between processes that learn by themselves, in the same order in each."""
        yield from self.model.state_dict().values()
        if self._averaged is not None:
            yield from self._averaged.module.state_dict().values()
        for group in self._optimizer.param_groups:
            for parameter in group["params"]:
                # Counts of steps are scalars, the same everywhere, and stay on the CPU.
                yield from (value for value in self._optimizer.state[parameter].values() if value.ndim)

    def _after_step(self, losses: MeanLosses) -> None:
        config = self.config
        last = self.step == config.steps
        due = config.validate_every and self.step % config.validate_every == 0
        validation, best = None, False
        if len(self.validation) and (due or last):
            validation = self.validate()
            best = validation.score > self.best_score
            self.best_score = max(self.best_score, validation.score)
        if self.listener is not None:
            self.listener(Progress(self.step, losses, learning_rate(self.step - 1, config), validation, best))
        if last or due or (config.save_every and self.step % config.save_every == 0):
            self.save()


def _fingerprint(model: nn.Module) -> int:
    """48 bits that change with any weight; a sum would depend on the processor too."""
    digest = hashlib.blake2b(digest_size=6)
    for value in model.state_dict().values():
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return int.from_bytes(digest.digest())


def _torch_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, 0x70C4, step, rank]).generate_state(1)[0])
