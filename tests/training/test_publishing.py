from __future__ import annotations

from pathlib import Path

import pytest
import torch
from trainees import Picture, quick_config

from activefreq.models.checkpoint import load_checkpoint
from activefreq.training.batches import Mixture
from activefreq.training.config import StageConfig
from activefreq.training.datasets import Placement
from activefreq.training.engine import Progress, TrainingRun
from activefreq.training.publishing import CheckpointWriter, Origin, checkpoint_info, model_card
from activefreq.training.start import initial_model

ORIGIN = Origin(
    (
        Placement("lesions", "a", "a", "train", ""),
        Placement("lesions", "b", "b", "test", ""),
        Placement("rings", "c", "c", "validation", ""),
        Placement("lesions", "d", "d", "train", ""),
    ),
    "random weights",
    {"revision": None, "packages": {"torch": "2.0"}},
)


@pytest.mark.parametrize("half", [False, True])
def test_the_best_and_the_last_are_written_with_their_cards(blobs: list[Picture], tmp_path: Path, half: bool) -> None:
    config = quick_config(stages=(StageConfig(4, 32),), validate_every=2)
    run = TrainingRun(initial_model(config), config, Mixture([blobs[:5]]), blobs[5:])
    writer = CheckpointWriter(run, tmp_path, ORIGIN, half=half)
    told: list[Progress] = []

    def listen(progress: Progress) -> None:
        writer(progress)
        told.append(progress)
        if progress.step == 1:
            assert list(tmp_path.iterdir()) == []

    run.listener = listen
    run.run()
    validations = {progress.step: progress for progress in told if progress.validation}
    best = max(step for step, progress in validations.items() if progress.best)
    for name, step in (("last", 4), ("best", best)):
        checkpoint = load_checkpoint(tmp_path / f"{name}.pt")
        assert checkpoint.info["step"] == step
        assert checkpoint.info["validation"]["miou"] == list(validations[step].validation.miou)
        assert (tmp_path / f"{name}.md").read_text().startswith("# freqformer-lite\n")
    published = run.published.state_dict()
    for name, value in load_checkpoint(tmp_path / "last.pt").model.state_dict().items():
        expected = published[name].half().float() if half and published[name].is_floating_point() else published[name]
        assert torch.equal(value, expected)


def test_info_names_no_folders() -> None:
    config = quick_config(encoder_weights="/home/me/secret/lite0.pth")
    progress = Progress(3, None, 0.1)  # type: ignore[arg-type]
    info = checkpoint_info(config, ORIGIN, progress)
    assert info["recipe"]["encoder_weights"] == "lite0.pth"
    assert "secret" not in repr(info)
    assert info["data"] == {
        "lesions": {"train": 2, "validation": 0, "test": 1},
        "rings": {"train": 0, "validation": 1, "test": 0},
    }


def test_the_card_tells_data_recipe_and_figures() -> None:
    from activefreq.training.validation import ValidationResult

    progress = Progress(8, None, 0.1, ValidationResult((0.51234, 0.75), 5), best=True)  # type: ignore[arg-type]
    card = model_card(checkpoint_info(quick_config(), ORIGIN, progress), parameters=1234567)
    for line in (
        "- 1,234,567 parameters",
        "| lesions | 2 | 0 | 1 |",
        "| rings | 0 | 1 | 0 |",
        "- 8 steps of 4 views (3 at 32 px, then 5 at 64 px)",
        "- began with random weights",
        "| mean IoU | 0.5123 | 0.7500 |",
    ):
        assert line in card.splitlines()
    assert "no medical device" in card
    empty = model_card(checkpoint_info(quick_config(), ORIGIN, Progress(8, None, 0.1)), parameters=1)  # type: ignore[arg-type]
    assert empty.endswith("## Validation\n\nNone.\n")
