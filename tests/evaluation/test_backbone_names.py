"""Every backbone goes by its name through a checkpoint, the session and the evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import FakeSource

from activefreq.evaluation.local import LocalBackendFactory, describe_checkpoint
from activefreq.evaluation.plan import Plan, PolicySpec
from activefreq.evaluation.rollout import RolloutConfig
from activefreq.evaluation.runner import evaluate
from activefreq.models.backbones import BACKBONES, BackboneConfig
from activefreq.models.checkpoint import Checkpoint, save_checkpoint
from activefreq.models.config import ModelConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.session import InteractiveSegmenter


@pytest.mark.parametrize("name", BACKBONES)
def test_a_checkpoint_of_any_backbone_is_evaluated(name: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    save_checkpoint(
        path, Checkpoint(InteractiveModel(ModelConfig(BackboneConfig(name), input_size=64, refine_size=64)).eval())
    )
    assert describe_checkpoint(str(path), name)[1]["backbone"] == name
    plan = Plan(
        policies=(PolicySpec("standard", "standard"), PolicySpec("acselect", "acselect")),
        rollout=RolloutConfig(max_clicks=2),
    )
    source = FakeSource(count=1)
    outcome = evaluate(plan, source, LocalBackendFactory(checkpoint=path, device="cpu"), tmp_path, progress=False)
    results = [result for entrant in outcome.results.values() for result in entrant]
    assert [result.name for result in results] == 2 * source.names
    # Two policies begin with the same click, and the same network answers it alike.
    first, second = (entrant[0].clicks[0].iou for entrant in outcome.results.values())
    assert first == second

    segmenter = InteractiveSegmenter.from_pretrained(path, device="cpu")
    segmenter.set_image(np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8))
    assert segmenter.click(20, 30).mask[20, 30]
