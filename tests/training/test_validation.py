from __future__ import annotations

import numpy as np
import pytest
from trainees import Picture

from activefreq.acselect.clicker import standard_click
from activefreq.models.interactive import InteractiveModel
from activefreq.session import InteractiveSegmenter
from activefreq.training.validation import annotate, spread, validate


def test_it_is_a_plain_loop_over_the_session_with_the_standard_clicker(
    blobs: list[Picture], tiny_model: InteractiveModel
) -> None:
    segmenter = InteractiveSegmenter(tiny_model)
    curves = []
    for blob in blobs:
        segmenter.set_image(blob.image)
        clicked, curve = np.zeros(blob.target.shape, bool), []
        for _ in range(3):
            click = standard_click(segmenter.result.mask, blob.target, clicked)
            assert click is not None
            clicked[click.y, click.x] = True
            mask = segmenter.click(click.y, click.x, click.positive).mask
            curve.append((mask & blob.target).sum() / (mask | blob.target).sum())
        curves.append(curve)
    result = validate(tiny_model, blobs, clicks=3, batch_size=3)
    assert result.images == len(blobs)
    # Batches of other sizes may round differently at a pixel on the threshold.
    assert result.miou == pytest.approx(np.mean(curves, axis=0), abs=1e-3)
    assert result.score == pytest.approx(np.mean(curves), abs=1e-3)


def test_modes_are_left_as_they_were(blobs: list[Picture], tiny_model: InteractiveModel) -> None:
    tiny_model.train()
    tiny_model.refiner.stem.eval()
    before = [module.training for module in tiny_model.modules()]
    statistics = {name: value.clone() for name, value in tiny_model.state_dict().items()}
    validate(tiny_model, blobs, clicks=1, limit=2)
    assert [module.training for module in tiny_model.modules()] == before
    assert all((statistics[name] == value).all() for name, value in tiny_model.state_dict().items())
    tiny_model.eval()


def test_a_perfect_mask_keeps_its_overlap(
    blobs: list[Picture], tiny_model: InteractiveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from activefreq.session.state import SessionState

    calls = []

    def perfect(model: object, requests: list, config: object) -> list[SessionState]:
        calls.append(len(requests))
        return [
            SessionState((*state.clicks, click), targets[image.shape].astype(np.float32), progressive=False)
            for image, state, click in requests
        ]

    targets = {blob.target.shape: blob.target for blob in blobs[:1]}
    monkeypatch.setattr("activefreq.training.validation.step", perfect)
    (annotation,) = annotate(tiny_model, blobs[:1], clicks=3)
    assert annotation.overlaps == (1.0, 1.0, 1.0)
    assert calls == [1, 0, 0]
    assert len(annotation.state.clicks) == 1


def test_a_limit_spreads_evenly() -> None:
    assert spread(10, None) == spread(10, 10) == spread(10, 99) == list(range(10))
    assert spread(11, 3) == [0, 5, 10]
    assert spread(0, 3) == []
    assert len(set(spread(1000, 72))) == 72
