from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from trainees import quick_config

from activefreq.training.engine import MeanLosses, Progress
from activefreq.training.reports import MetricsFile, ProgressBar, TensorBoard
from activefreq.training.validation import ValidationResult


def progress(step: int) -> Progress:
    validation = ValidationResult((0.5, 0.6 + step / 100), 3) if step % 2 == 0 else None
    return Progress(step, MeanLosses(1 / step, 0.5, 0.25, 0.125), 1e-3, validation, best=step == 2)


def write_metrics(path: Path, steps: range) -> None:
    metrics = MetricsFile(path, start=steps.start - 1, clicks=2)
    for step in steps:
        metrics(progress(step))
    metrics.close()


def test_metrics_have_a_line_a_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write_metrics(path, range(1, 5))
    rows = list(csv.DictReader(path.open()))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[2] == {
        **{"step": "3", "learning_rate": "0.001", "total": "0.3333333", "coarse": "0.5", "refined": "0.25"},
        **{"detail": "0.125", "miou@1": "", "miou@2": "", "best": ""},
    }
    assert [(row["miou@2"], row["best"]) for row in rows] == [("", ""), ("0.62", "1"), ("", ""), ("0.64", "0")]


@pytest.mark.parametrize("tail", ["", "4,0.001,0.2"])
def test_metrics_of_a_resumed_training_are_the_same_file(tmp_path: Path, tail: str) -> None:
    straight, resumed = tmp_path / "straight.csv", tmp_path / "resumed.csv"
    write_metrics(straight, range(1, 7))
    write_metrics(resumed, range(1, 6))
    with resumed.open("a") as file:
        file.write(tail)  # Half a line, as a killed process leaves it.
    write_metrics(resumed, range(4, 7))
    assert resumed.read_bytes() == straight.read_bytes()
    write_metrics(resumed, range(1, 7))
    assert resumed.read_bytes() == straight.read_bytes()


def test_tensorboard_gets_scalars_and_pictures_and_forgets_what_is_done_again(tmp_path: Path) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    for steps in (range(1, 5), range(3, 7)):
        board = TensorBoard(tmp_path, start=steps.start - 1, pictures=lambda: [("validation/0", picture)])
        for step in steps:
            board(progress(step))
        board.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert {"loss/total", "loss/detail", "learning_rate", "steps_per_second", "validation/miou@2"} <= set(
        events.Tags()["scalars"]
    )
    assert [event.step for event in events.Scalars("loss/total")] == [1, 2, 3, 4, 5, 6]
    assert [event.value for event in events.Scalars("validation/miou@2")] == pytest.approx([0.62, 0.64, 0.66])
    assert [event.step for event in events.Images("validation/0")] == [2, 4, 6]


def test_the_bar_says_loss_overlap_speed_and_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar(quick_config(), start=0)
    bar._bar.mininterval = 0
    for step in range(1, 8):
        bar(progress(step))
    bar.close()
    told = capsys.readouterr().err
    for part in ("7/8", "loss=", "mIoU@1=0.5000", "mIoU@2=0.6600", "images/s="):
        assert part in told
    assert "<" in told  # Elapsed < remaining.
