from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from activefreq.training.finetune import FinetuneProgress, FinetuneResult
from activefreq.training.validation import ValidationResult
from lib.trainers.train_stats import StatsFile, TrainReport


def result(*, published: bool) -> FinetuneResult:
    return FinetuneResult(
        published=published,
        reason="because",
        before=ValidationResult((0.5, 0.7), 3),
        best=ValidationResult((0.6, 0.9), 3),
        validated_on="held-out groups",
        training=("a", "b"),
        validation=("c",),
        steps=4,
        epochs=2,
        stopped=False,
        losses=(1.0, 0.5),
        origin={},
    )


def test_figures_are_read_as_written(tmp_path: Path) -> None:
    file = StatsFile(tmp_path / "new" / "stats.json")
    assert file.read() == {}
    file.write({"epoch": 3, "list": (1, 2.5), "name": "ä"})
    assert file.read() == {"epoch": 3, "list": [1, 2.5], "name": "ä"}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["stats.json"]


def test_nan_never_gets_into_the_file(tmp_path: Path) -> None:
    file = StatsFile(tmp_path / "stats.json")
    file.write({"loss": float("nan"), "inner": {"values": [1.0, float("inf"), (float("-inf"),)]}})
    assert file.read() == {"loss": None, "inner": {"values": [1.0, None, [None]]}}
    json.loads((tmp_path / "stats.json").read_text(), parse_constant=lambda name: pytest.fail(name))


@pytest.mark.parametrize("content", ['{"loss": NaN}', '{"loss": Infinity}', "{", "", "[1, 2]", "\xff"])
def test_figures_that_cannot_be_told_are_left_out(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "stats.json").write_text(content, encoding="latin-1")
    with caplog.at_level(logging.WARNING):
        assert StatsFile(tmp_path / "stats.json").read() == {}
    assert ("stats.json" in caplog.text) == (content != "[1, 2]")


def test_the_names_that_slicer_reads(tmp_path: Path) -> None:
    file = StatsFile(tmp_path / "stats.json")
    report = TrainReport(file, epochs=2, problems=["x: is empty"])
    begun = file.read()
    assert (begun["epoch"], begun["total_epochs"], begun["best_metric"]) == (0, 2, 0.0)
    assert begun["problems"] == ["x: is empty"]
    assert (begun["state"], begun["published"], "remark" in begun) == ("running", False, False)

    report.follow(FinetuneProgress(1, 4, 1, 0.8))
    assert file.read() == begun
    report.follow(FinetuneProgress(2, 4, 1, 0.7, ValidationResult((0.6, 0.9), 3)))
    report.follow(FinetuneProgress(4, 4, 2, 0.6, ValidationResult((0.5, 0.8), 3), published=True))
    under_way = file.read()
    assert (under_way["epoch"], under_way["best_metric"]) == (2, pytest.approx(0.75))
    assert under_way["eval"] == {"miou@1": 0.5, "miou@2": 0.8, "images": 3}
    assert "total_time" not in under_way
    assert (under_way["state"], under_way["published"]) == ("running", True)

    figures = report.finish(result(published=True))
    assert figures == file.read()
    assert figures["total_time"] == "0:00:00"
    assert "current_time" not in figures
    assert (figures["state"], figures["published"]) == ("done", True)
    assert figures["best_metric"] == pytest.approx(0.75)
    assert figures["finetuning"]["published"] is True
    assert figures["finetuning"]["miou_before"] == [0.5, 0.7]


def test_the_accuracy_is_that_of_the_model_that_is_served(tmp_path: Path) -> None:
    report = TrainReport(StatsFile(tmp_path / "stats.json"), epochs=2, problems=[])
    assert report.finish(result(published=False))["best_metric"] == pytest.approx(0.6)


def test_a_failure_is_told_and_raised_on(tmp_path: Path) -> None:
    file = StatsFile(tmp_path / "stats.json")
    report = TrainReport(file, epochs=2, problems=[], remark="on one GPU")
    report.follow(FinetuneProgress(2, 4, 1, 0.7, ValidationResult((0.6, 0.9), 3), published=True))
    with pytest.raises(KeyboardInterrupt), report.of_failures():
        raise KeyboardInterrupt
    figures = file.read()
    assert (figures["state"], figures["error"], figures["published"]) == ("failed", "KeyboardInterrupt", True)
    assert (figures["epoch"], figures["remark"], "total_time" in figures) == (1, "on one GPU", False)
