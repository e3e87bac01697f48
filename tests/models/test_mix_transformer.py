from __future__ import annotations

import pytest
import torch

from activefreq.models.mix_transformer import MIT_B0, PAPER, MixTransformer, MixTransformerConfig

SMALL = MixTransformerConfig(dims=(8, 8, 16, 16), depths=(1, 1, 1, 1))


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_published_encoder_has_its_published_size() -> None:
    encoder = MixTransformer(MIT_B0)
    # 3.32 M without the classification head; the prompt's stem comes on top.
    assert count(encoder) - count(encoder.prompt) == 3_319_392


def test_the_papers_encoder_has_its_dims() -> None:
    assert PAPER.dims == (32, 64, 128, 256)
    encoder = MixTransformer(PAPER)
    features = encoder(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64))
    assert [tuple(x.shape) for x in features] == [(1, 32, 16, 16), (1, 64, 8, 8), (1, 128, 4, 4), (1, 256, 2, 2)]


@pytest.mark.parametrize("size", [(32, 32), (33, 61), (100, 47), (1, 1), (5, 200)])
def test_any_size_is_encoded_each_stage_half_the_one_before_rounded_up(size: tuple[int, int]) -> None:
    encoder = MixTransformer(SMALL).eval()
    with torch.no_grad():
        features = encoder(torch.randn(1, 3, *size), torch.rand(1, 3, *size))
    for stage, feature in enumerate(features):
        assert feature.shape[2:] == tuple(-(-side // (4 << stage)) for side in size)
        assert feature.isfinite().all()


def test_an_untrained_prompt_changes_nothing_and_a_trained_one_reaches_the_first_features() -> None:
    """FocalClick adds its clicks after the first stage: its decoder's finest map sees none of them."""
    encoder = MixTransformer(SMALL).eval()
    image = torch.randn(1, 3, 64, 64)
    clicks = torch.zeros(1, 3, 64, 64)
    clicks[:, 1, 20:30, 20:30] = 1
    with torch.no_grad():
        without = encoder(image, torch.zeros_like(clicks))
        for one, other in zip(without, encoder(image, clicks), strict=True):
            assert torch.equal(one, other)
        torch.nn.init.normal_(encoder.prompt.weight)
        for one, other in zip(without, encoder(image, clicks), strict=True):
            assert not torch.allclose(one, other)


def test_gradients_reach_every_parameter() -> None:
    encoder = MixTransformer(SMALL)
    features = encoder(torch.randn(1, 3, 64, 64), torch.rand(1, 3, 64, 64))
    sum(feature.square().mean() for feature in features).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in encoder.parameters())
