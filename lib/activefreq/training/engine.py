"""The one training engine, for scripts and for the MONAI Label trainer alike.

An Ignite engine runs the steps. Every batch is a pure function of the seed and the step (`batches`), so that a state
is the step, the weights and the optimizer, and a resumed run is the same run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from activefreq.errors import ActiveFreqError
from activefreq.models.config import SessionConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.training.batches import Batch, Mixture, PairSource, batches
from activefreq.training.config import TrainingConfig
from activefreq.training.objective import Losses, Passes, autocast, exercise_losses, make_exercise
from activefreq.training.optimization import learning_rate, make_optimizer
from activefreq.training.state import load_state, save_state
from activefreq.training.validation import ValidationResult, validate

STATE_NAME = "state.pt"


@dataclass(frozen=True)
class Progress:
    """What listeners are told after a step.

    Attributes:
        step: Steps done.
        validation: Set on steps after which the model was validated.
        best: True if that validation is the best so far.
    """

    step: int
    losses: Losses
    learning_rate: float
    validation: ValidationResult | None = None
    best: bool = False


@dataclass
class TrainingRun:
    """A training that can be stopped anywhere and goes on exactly.

    Attributes:
        folder: Where the state is kept; None keeps none.
        sources: Training data and its weights.
        validation: Validation data, or empty for none.
        listener: Told after every step; what it raises stops the training.
        stop: Asked after every step; True ends the run early.
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

    def __post_init__(self) -> None:
        self.model.to(self.device).to(memory_format=torch.channels_last)
        self._passes = Passes(self.model)
        self.optimizer = make_optimizer(self.model, self.config)
        decay = self.config.optimizer.average
        self.averaged = (
            None
            if decay is None
            else AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        )
        self.step = 0
        self.best_score = -math.inf

    @property
    def published(self) -> InteractiveModel:
        """The model that is validated and shipped: the averaged one, if weights are averaged."""
        return self.model if self.averaged is None else cast(InteractiveModel, self.averaged.module)

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
        """Continues from the folder's state, if there is one; says whether there was."""
        if self.folder is None or not (self.folder / STATE_NAME).exists():
            return False
        state = load_state(self.folder / STATE_NAME)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.step = state["step"]
        self.best_score = state["best_score"]
        return True

    def save(self) -> None:
        """Writes the state atomically."""
        if self.folder is None:
            return
        state: dict[str, Any] = {
            "step": self.step,
            "best_score": self.best_score,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        if self.averaged is not None:
            state["averaged"] = self.averaged.state_dict()
        save_state(self.folder / STATE_NAME, state)

    def run(self) -> None:
        """Runs the remaining steps. Raises `ActiveFreqError` if the loss stops being a number."""
        if self.step >= self.config.steps:
            return
        start = self.step

        def update(_: Engine, batch: Batch) -> None:
            self._after_step(self._update(batch))

        engine = Engine(update)

        @engine.on(Events.ITERATION_COMPLETED)
        def end_early(engine: Engine) -> None:
            if self.stop is not None and self.stop():
                engine.terminate()

        stream = batches(self.sources, self.config, start=start)
        engine.run(stream, max_epochs=1, epoch_length=self.config.steps - start)

    def _update(self, batch: Batch) -> Losses:
        self.model.train()
        if self.config.frozen_statistics:
            freeze_statistics(self.model)
        rate = learning_rate(self.step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        exercise = make_exercise(self.model, batch, self.config, self.device)
        with autocast(self.device, self.config.precision):
            logits = self._passes(exercise)
        losses = exercise_losses(logits, exercise, self.config.losses)
        if not torch.isfinite(losses.total):
            raise ActiveFreqError(f"the loss of step {self.step} is {losses.total.item()}")
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        if self.config.optimizer.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip)
        self.optimizer.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        self.step += 1
        return replace(losses, total=losses.total.detach())

    def _after_step(self, losses: Losses) -> None:
        config = self.config
        last = self.step == config.steps
        due = config.validate_every and self.step % config.validate_every == 0
        validation, best = None, False
        if len(self.validation) and (due or last):
            validation = self.validate()
            best = validation.score > self.best_score
            self.best_score = max(self.best_score, validation.score)
        if last or due or (config.save_every and self.step % config.save_every == 0):
            self.save()
        if self.listener is not None:
            self.listener(Progress(self.step, losses, learning_rate(self.step - 1, config), validation, best))


def freeze_statistics(model: nn.Module) -> None:
    """Puts batch normalization into evaluation mode: it uses its running statistics and leaves them alone."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
