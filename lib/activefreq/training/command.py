"""A whole training from data folders to checkpoints: what `scripts/train.py` does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from activefreq.models.checkpoint import checkpoint_hash, load_checkpoint, resolve_checkpoint
from activefreq.models.config import SessionConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.training.config import TrainingConfig, to_plain
from activefreq.training.datasets import DataSet, Division, TrainingData, load_data
from activefreq.training.distributed import rank
from activefreq.training.engine import Progress, TrainingRun
from activefreq.training.folder import own_folder, refuse_lost_states, write_records
from activefreq.training.overlays import overlay
from activefreq.training.provenance import provenance
from activefreq.training.publishing import CheckpointWriter, Origin
from activefreq.training.reports import MetricsFile, ProgressBar, TensorBoard
from activefreq.training.start import encoder_weights_file, initial_model
from activefreq.training.validation import annotate, spread

logger = logging.getLogger(__name__)

PICTURES = 4
"""Validated images that TensorBoard shows."""


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """One training.

    Attributes:
        config: What is done.
        sets: On which data.
        output: Folder for everything that is written.
        division: Parts of the data.
        resume: Continue what is in the folder, if anything is.
        init: Checkpoint whose weights it begins with, and whose session it keeps, if any.
        device: Where this process computes.
        half: Store published checkpoints as float16.
    """

    config: TrainingConfig
    sets: tuple[DataSet, ...]
    output: Path
    division: Division = field(default_factory=Division)
    resume: bool = False
    init: str | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    half: bool = False


def train(
    request: TrainingRequest, *, stop: Callable[[], bool] | None = None, loaded: Callable[[], object] | None = None
) -> TrainingRun:
    """Trains; in every process of a distributed training alike, of which only the first writes.

    Args:
        stop: As in `TrainingRun`; True ends the run early, its state saved.
        loaded: Called once when all data are read and checked, which takes long and asks for no `stop`.

    Returns:
        The run. It is at the last step, unless it was stopped.

    Raises:
        InputError: Data, options or the folder cannot be used.
        CheckpointError: Weights or states cannot be used.
    """
    # Only the first process writes.
    with own_folder(request.output, resume=request.resume) if rank() == 0 else nullcontext():
        return _train(request, stop, loaded)


def _train(
    request: TrainingRequest, stop: Callable[[], bool] | None, loaded: Callable[[], object] | None
) -> TrainingRun:
    first = rank() == 0
    # Before the data: weights that cannot be used are told at once.
    model = initial_model(request.config, init=request.init)
    data = load_data(request.sets, request.division, validation_images=request.config.validation_images, progress=first)
    if loaded is not None:
        loaded()
    run = TrainingRun(
        model,
        request.config,
        data.training,
        data.validation,
        request.output,
        request.device,
        stop=stop,
        session=_session(request),
    )
    resumed = request.resume and run.resume()
    if not first:
        run.run()
        return run
    if request.resume and not resumed:
        refuse_lost_states(request.output, request.config)

    for problem in data.problems:
        logger.warning("left out %s", problem)
    origin = Origin(data.placements, _start(request, model), provenance(request.device))
    record = {
        "step": run.step,
        "seed": request.config.seed,
        "start": origin.start,
        "division": to_plain(request.division),
        "data": to_plain(request.sets),
        **origin.provenance,
    }
    write_records(request.output, run.config, data.placements, data.problems, record)
    logger.info(
        "%s: %d training pairs an epoch, %d images validated, %d of %d steps done%s",
        request.output,
        data.training.length,
        len(data.validation),
        run.step,
        request.config.steps,
        " (resumed)" if resumed else "",
    )
    if run.step == request.config.steps:
        return run
    with ExitStack() as stack:
        writer = CheckpointWriter(run, request.output, origin, half=request.half)
        reports = [
            stack.enter_context(closing(report))
            for report in (
                MetricsFile(request.output / "metrics.csv", start=run.step, clicks=request.config.validation_clicks),
                TensorBoard(request.output / "tensorboard", start=run.step, pictures=lambda: _pictures(run, data)),
                ProgressBar(request.config, start=run.step),
            )
        ]

        def tell(progress: Progress) -> None:
            writer(progress)
            for report in reports:
                report(progress)

        run.listener = tell
        run.run()
    return run


def _pictures(run: TrainingRun, data: TrainingData) -> Sequence[tuple[str, np.ndarray]]:
    pairs = [data.validation[index] for index in spread(len(data.validation), PICTURES)]
    annotations = annotate(run.published, pairs, clicks=run.config.validation_clicks, config=run.session)
    return [
        (
            f"validation/{number}",
            overlay(pair.image, pair.target, annotation.state.mask, annotation.state.clicks),
        )
        for number, (pair, annotation) in enumerate(zip(pairs, annotations, strict=True))
    ]


def _session(request: TrainingRequest) -> SessionConfig:
    """How sessions go with the weights that it begins with."""
    return SessionConfig() if request.init is None else load_checkpoint(resolve_checkpoint(request.init)).session


def _start(request: TrainingRequest, model: InteractiveModel) -> str:
    """What the weights begin as; names files, not folders, with their SHA-256."""
    if request.init is not None:
        checkpoint = resolve_checkpoint(request.init)
        return f"checkpoint {checkpoint.name} ({checkpoint_hash(checkpoint)})"
    weights = encoder_weights_file(request.config, model)
    return "random weights" if weights is None else f"encoder weights {weights.name} ({checkpoint_hash(weights)})"
