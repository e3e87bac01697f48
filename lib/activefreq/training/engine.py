"""The one training engine, for scripts and for the MONAI Label trainer alike.

An Ignite engine runs the steps; its handlers validate, log and save. Every batch is a pure function of the seed and
the step (`batches`), so that a state is the step, the weights and the optimizer, and a resumed run is the same run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from activefreq.errors import ActiveFreqError
from activefreq.models.config import SessionConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.training.batches import Batch, Mixture, Pair, batches
from activefreq.training.config import TrainingConfig
from activefreq.training.objective import Losses, batch_loss
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
    """

    model: InteractiveModel
    config: TrainingConfig
    sources: Mixture
    validation: Sequence[Pair] = ()
    folder: Path | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    session: SessionConfig = field(default_factory=SessionConfig)
    listener: Callable[[Progress], None] | None = None

    def __post_init__(self) -> None:
        self.model.to(self.device).train()
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
        return self.model if self.averaged is None else self.averaged.module

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
        engine = Engine(lambda _, batch: self._update(batch))

        @engine.on(Events.ITERATION_COMPLETED)
        def _finish(engine: Engine) -> None:
            self._after_step(engine.state.output)

        stream = batches(self.sources, self.config, start=start)
        engine.run(stream, max_epochs=1, epoch_length=self.config.steps - start)

    def _update(self, batch: Batch) -> Losses:
        self.model.train()
        rate = learning_rate(self.step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        losses = batch_loss(self.model, batch, self.config, self.device)
        if not torch.isfinite(losses.total):
            raise ActiveFreqError(f"the loss of step {self.step} is {losses.total.item()}")
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        if self.config.optimizer.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip)
        self.optimizer.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        self.step += 1
        return losses

    def _after_step(self, losses: Losses) -> None:
        config = self.config
        last = self.step == config.steps
        due = config.validate_every and self.step % config.validate_every == 0
        validation, best = None, False
        if len(self.validation) and (due or last):
            validation = validate(
                self.published,
                self.validation,
                clicks=config.validation_clicks,
                limit=config.validation_images,
                config=self.session,
            )
            best = validation.score > self.best_score
            self.best_score = max(self.best_score, validation.score)
        if last or due or (config.save_every and self.step % config.save_every == 0):
            self.save()
        if self.listener is not None:
            self.listener(Progress(self.step, losses, learning_rate(self.step - 1, config), validation, best))


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
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    if options.name not in kinds:
        raise ValueError(f"unknown optimizer {options.name!r}: one of {', '.join(kinds)}")
    return kinds[options.name](parameters, lr=options.learning_rate, betas=options.betas)


def learning_rate(step: int, config: TrainingConfig) -> float:
    """The rate of a step, counted from 0: a pure function, so that resuming needs no scheduler's state."""
    options = config.optimizer
    grown = min((step + 1) / options.warmup, 1.0) if options.warmup else 1.0
    if options.schedule == "cosine":
        return options.learning_rate * grown * 0.5 * (1 + math.cos(math.pi * step / max(config.steps, 1)))
    if options.schedule == "step":
        return options.learning_rate * grown * (0.1 if step >= options.drop_at * config.steps else 1.0)
    raise ValueError(f"unknown schedule {options.schedule!r}: 'cosine' or 'step'")
