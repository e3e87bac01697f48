from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from activefreq.models.freqformer import ENCODERS, FreqFormer, FreqFormerConfig, make_encoder

SMALL = FreqFormerConfig(width=8, dims=(16, 8, 8, 8), ratio=1, base_size=64)


def run(model: FreqFormer, *size: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image, prompt = (torch.randn(1, 3, *size, generator=generator) for _ in range(2))
    with torch.no_grad():
        return model.eval()(image, prompt)


def test_the_papers_configuration_has_the_papers_size() -> None:
    parameters = sum(parameter.numel() for parameter in FreqFormer().parameters())
    assert parameters == pytest.approx(9.20e6, rel=0.05)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("size", [(64, 64), (33, 71), (96, 40)])
def test_any_size_is_segmented_with_any_encoder(encoder: str, size: tuple[int, int]) -> None:
    model = FreqFormer(replace(SMALL, encoder=encoder))
    logits, feature = run(model, *size)
    assert logits.shape == (1, 1, *size)
    assert feature.shape == (1, model.feature_channels, -(-size[0] // 4), -(-size[1] // 4))
    assert logits.isfinite().all()


@pytest.mark.parametrize("transform", ["fourier", "haar"])
@pytest.mark.parametrize("axes", [("hw", None, None), (None, "hc", "wc"), ("chw", None, None), (None, None, None)])
def test_every_ablation_runs_at_an_odd_size(transform: str, axes: tuple[str | None, str | None, str | None]) -> None:
    model = FreqFormer(replace(SMALL, transform=transform, axes=axes))
    logits, _ = run(model, 45, 71)
    assert logits.shape == (1, 1, 45, 71)


def test_switching_all_transforms_off_leaves_the_spatial_path() -> None:
    """An untrained transform is the identity, and so is one that is off: the same network, less its filters."""
    with_transforms = FreqFormer(SMALL)
    without = FreqFormer(replace(SMALL, axes=(None, None, None)))
    without.load_state_dict(
        {name: value for name, value in with_transforms.state_dict().items() if ".filters." not in name}
    )
    torch.testing.assert_close(run(without, 64, 64), run(with_transforms, 64, 64), atol=1e-4, rtol=1e-4)


def test_gradients_reach_every_parameter() -> None:
    model = FreqFormer(SMALL)
    logits, _ = model(torch.randn(2, 3, 40, 56), torch.rand(2, 3, 40, 56))
    logits.square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_the_prompt_matters_once_it_is_trained() -> None:
    model = FreqFormer(SMALL).eval()
    torch.nn.init.normal_(model.encoder.prompt.weight)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        one, other = (model(image, torch.full_like(image, value)).logits for value in (0.0, 1.0))
    assert not torch.allclose(one, other)


def test_an_unknown_encoder_is_named() -> None:
    with pytest.raises(ValueError, match="unknown encoder 'resnet': one of mit-paper"):
        make_encoder("resnet")
