from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from activefreq.models.backbones import BackboneConfig
from activefreq.models.config import ModelConfig
from activefreq.models.cost import Work, count_parameters, count_work, model_cost, transform_operations
from activefreq.models.inference import prepare_for_inference
from activefreq.models.interactive import InteractiveModel
from activefreq.models.mix_transformer import PAPER, MixTransformer
from activefreq.models.spectral import FreqModule, SpectralFilter, WaveletFilter


def work(module: nn.Module, *shape: int) -> Work:
    x = torch.randn(*shape)
    return count_work(lambda: module(x))


def test_convolutions_by_hand() -> None:
    assert work(nn.Conv2d(3, 8, 3, padding=1), 1, 3, 10, 12) == Work(10 * 12 * 8 * 3 * 9, 0)
    assert work(nn.Conv2d(3, 8, 3, stride=2, padding=1), 2, 3, 10, 12) == Work(2 * 5 * 6 * 8 * 3 * 9, 0)
    assert work(nn.Conv2d(8, 8, 3, padding=1, groups=8), 1, 8, 10, 12) == Work(10 * 12 * 8 * 9, 0)
    assert work(nn.ConvTranspose2d(4, 6, 2, stride=2), 1, 4, 5, 7) == Work(5 * 7 * 4 * 6 * 4, 0)


def test_linear_layers_and_attention_by_hand() -> None:
    assert work(nn.Linear(5, 7), 2, 11, 5) == Work(2 * 11 * 5 * 7, 0)
    q, k = torch.randn(1, 2, 40, 8), torch.randn(1, 2, 10, 8)
    attention = count_work(lambda: functional.scaled_dot_product_attention(q, k, k))
    assert attention == Work(2 * (2 * 40 * 10 * 8), 0)  # two heads, two products


@pytest.mark.parametrize(
    ("axes", "points", "transforms"),
    [("hw", 8 * 16, 4), ("hc", 8 * 4, 16), ("wc", 16 * 4, 8), ("chw", 4 * 8 * 16, 1)],
)
def test_filters_by_hand(axes: str, points: int, transforms: int) -> None:
    """Forth and back, two real transforms: half of 5 N log2 N each."""
    module = SpectralFilter(axes, (4, 8, 16))
    expected = 2 * transforms * 2.5 * points * math.log2(points)
    assert work(module, 1, 4, 8, 16) == Work(0, round(expected))
    assert work(WaveletFilter(axes, (4, 8, 16)), 1, 4, 8, 16) == Work(0, 0)


def test_resampled_weights_are_not_counted() -> None:
    """They are resampled once for a size, not once for a click."""
    for kind in (SpectralFilter, WaveletFilter):
        assert work(kind("hw", (4, 8, 8)), 1, 4, 16, 16).macs == 0


def test_a_module_of_four_quarters_by_hand() -> None:
    spatial = 16 * 16 * (4 * 9 + 4 * 4)
    fourier = 2 * 2.5 * 4 * 16 * 16 * (math.log2(256) + 2 * math.log2(64))
    assert work(FreqModule(16, (16, 16)), 1, 16, 16, 16) == Work(spatial, round(fourier))


def test_transforms_by_hand() -> None:
    assert transform_operations((2, 8, 16), (1,), real=False) == 5 * 8 * 3 * 2 * 16
    assert transform_operations((2, 8, 16), (1, 2), real=True) == 2.5 * 128 * 7 * 2
    assert transform_operations((2, 1, 1), (1, 2), real=True) == 0
    signal = torch.randn(4, 8, dtype=torch.complex64)
    assert count_work(lambda: torch.fft.fft2(signal)) == Work(0, 5 * 32 * 5)
    assert count_work(lambda: torch.fft.irfft(signal, n=14)).fft_operations == round(4 * 2.5 * 14 * math.log2(14))


def test_parameters_that_are_shared_count_once() -> None:
    one = nn.Linear(3, 4)
    assert count_parameters(nn.Sequential(one, one)) == 16


def test_the_encoder_of_the_paper_by_hand() -> None:
    """At 256 x 256; linear layers, attention, and convolutions of each stage."""
    total = 2 * 64 * 64 * 32 * 3 * 49  # image and prompt stems
    sides, dims, reductions = (64, 32, 16, 8), PAPER.dims, PAPER.reductions
    for stage, (side, dim, reduction) in enumerate(zip(sides, dims, reductions, strict=True)):
        tokens, keys = side**2, (side // reduction) ** 2
        if stage:
            total += tokens * dim * dims[stage - 1] * 9
        block = 2 * tokens * dim**2 + keys * 2 * dim**2 + 2 * tokens * keys * dim
        block += 2 * tokens * dim * 4 * dim + tokens * 4 * dim * 9
        if reduction > 1:
            block += keys * dim * dim * reduction**2
        total += 2 * block
    encoder = MixTransformer(PAPER)
    image, prompt = torch.rand(1, 3, 256, 256), torch.rand(1, 3, 256, 256)
    assert count_work(lambda: encoder(image, prompt)) == Work(total, 0)


@pytest.fixture(scope="module")
def freqformer() -> InteractiveModel:
    return InteractiveModel(ModelConfig(BackboneConfig("freqformer"))).eval()


def test_the_size_of_freqformer(freqformer: InteractiveModel) -> None:
    """The paper's Table 3: 9.20 M and 2.67 G."""
    cost = model_cost(freqformer)
    assert cost.parameters == 9_070_835
    assert cost.parameters == pytest.approx(9.20e6, rel=0.05)
    assert cost.coarse == Work(2_012_725_248, 39_976_960)
    assert cost.coarse.macs <= 2.67e9
    assert cost.refine == Work(132_120_576, 0)


def test_a_prepared_network_computes_less(freqformer: InteractiveModel) -> None:
    """The heads (61 M) and the fusion of 1024 channels (604 M) become a fusion of 480 (283 M, and 0.6 M of biases)."""
    plain, prepared = (
        model_cost(model) for model in (freqformer, prepare_for_inference(freqformer, torch.device("cpu")))
    )
    heads = 256 * (4096 * 32 + 1024 * 64 + 256 * 128 + 64 * 256)
    fusion = 256 * 256 * 9
    assert plain.coarse.macs - prepared.coarse.macs == heads + fusion * (1024 - 480 - 1)
    assert prepared.coarse.fft_operations == plain.coarse.fft_operations
    assert prepared.refine == plain.refine


def test_focalclicks_networks_have_its_own_counts() -> None:
    """Its counter says 1.751 G for SegFormer-B0 at 256. Ours counts 0.8 % more: the prompt's stem (19 M) is a part."""
    cost = model_cost(InteractiveModel(ModelConfig(BackboneConfig("segformer-b0"))).eval())
    assert cost.coarse.macs == 1_764_950_016
    assert cost.coarse.macs == pytest.approx(1.751e9, rel=0.01)
    assert cost.parameters == 3_735_235
