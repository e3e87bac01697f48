"""A fine-tuning by two processes (gloo) against one by this process alone."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import psutil
import pytest

from activefreq.data.discovery import find_samples
from activefreq.data.pairs import Pair
from activefreq.data.samples import SampleReference, SampleSource
from activefreq.errors import ActiveFreqError, InputError
from activefreq.models.checkpoint import Checkpoint, load_checkpoint
from activefreq.models.interactive import InteractiveModel
from activefreq.training.finetune import FinetuneConfig, FinetuneProgress, finetune
from activefreq.training.finetune_processes import finetune_together

pytestmark = pytest.mark.slow

TWO = ("cpu", "cpu")
# So slow that the two weights hardly part: Adam magnifies what rounding leaves of a gradient that is zero.
QUICK = FinetuneConfig(epochs=2, views=2, batch_size=2, validation_clicks=2, workers=0, learning_rate=1e-7)


def test_two_processes_do_what_one_does(studies_folder: Path, tiny_model: InteractiveModel, tmp_path: Path) -> None:
    samples = find_samples(studies_folder)
    base = Checkpoint(tiny_model, info={"recipe": "tiny"})
    told: list[FinetuneProgress] = []
    alone = finetune(base, samples, QUICK, publish=tmp_path / "alone.pt", device="cpu")
    both = finetune_together(base, samples, QUICK, devices=TWO, publish=tmp_path / "both.pt", listener=told.append)
    assert [progress.step for progress in told] == [1, 2, 3, 4]
    assert [progress.validation is not None for progress in told] == [False, True, False, True]
    assert (both.training, both.validation, both.steps) == (alone.training, alone.validation, alone.steps)
    assert both.losses == pytest.approx(alone.losses, rel=1e-4)
    assert both.before == alone.before
    assert both.best is not None
    assert both.published == (both.best.score >= both.before.score) == (tmp_path / "both.pt").exists()
    if both.published:
        assert load_checkpoint(tmp_path / "both.pt").info["finetuned"]["miou"] == list(both.best.miou)


def test_a_stop_request_reaches_them(studies_folder: Path, tiny_model: InteractiveModel) -> None:
    steps: list[int] = []
    result = finetune_together(
        Checkpoint(tiny_model),
        find_samples(studies_folder),
        dataclasses.replace(QUICK, epochs=100_000),
        devices=TWO,
        listener=lambda progress: steps.append(progress.step),
        stop=lambda: len(steps) > 2,
    )
    assert result.stopped
    assert 3 <= result.steps < 100_000


def test_what_is_wrong_in_one_of_them_is_said(tiny_model: InteractiveModel) -> None:
    pair = Pair("a", Path("nowhere.png"), Path("nowhere.png"))
    samples = SampleSource([SampleReference("a", "a", pair, 0)])
    with pytest.raises(InputError, match=r"a: nowhere\.png: no such file"):
        finetune_together(Checkpoint(tiny_model), samples, QUICK, devices=TWO)
    with pytest.raises(InputError, match="a batch of 2 is too small for 3 processes"):
        finetune_together(Checkpoint(tiny_model), samples, QUICK, devices=("cpu",) * 3)


def test_one_that_dies_ends_the_training(studies_folder: Path, tiny_model: InteractiveModel) -> None:
    def kill_one(_: FinetuneProgress) -> None:
        workers = [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
        os.kill(workers[-1].pid, signal.SIGKILL)

    config = dataclasses.replace(QUICK, epochs=100_000)
    with pytest.raises(ActiveFreqError, match="a process of the training failed"):
        finetune_together(Checkpoint(tiny_model), find_samples(studies_folder), config, devices=TWO, listener=kill_one)
