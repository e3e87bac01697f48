from __future__ import annotations

import torch

from activefreq.models.interactive import InteractiveModel


def test_both_passes_see_normalized_images(tiny_model: InteractiveModel) -> None:
    image, prompt = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    boxes = torch.tensor([[0.25, 0.25, 0.75, 0.75]])
    with torch.no_grad():
        coarse = tiny_model.coarse(image, prompt)
        expected = tiny_model.backbone(tiny_model.normalize(image), prompt)
        assert torch.equal(coarse.logits, expected.logits)
        refined = tiny_model.refine(image, prompt[:, 1:], coarse, boxes)
        normalized = tiny_model.normalize(image)
        other = tiny_model.refiner(normalized, prompt[:, 1:], coarse.feature, coarse.logits, boxes)
    assert torch.equal(refined.logits, other.logits)
    assert refined.logits.shape == (1, 1, 64, 64)


def test_the_refiner_fits_the_backbone(tiny_model: InteractiveModel) -> None:
    assert tiny_model.refiner.feature[0].in_channels == tiny_model.backbone.feature_channels


def test_a_model_at_another_size_shares_its_weights(tiny_model: InteractiveModel) -> None:
    before = tiny_model.config
    half = tiny_model.at_size(before.input_size // 2)
    assert half.config.input_size == before.input_size // 2
    assert half.config.refine_size == before.refine_size // 2
    assert half.config.disk_radius == before.disk_radius / 2
    assert tiny_model.config == before
    assert [id(one) for one in half.parameters()] == [id(one) for one in tiny_model.parameters()]
