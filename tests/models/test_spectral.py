from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from activefreq.models.spectral import (
    FILTERS,
    FreqBlock,
    FreqModule,
    SpectralFilter,
    WaveletFilter,
    haar,
    inverse_haar,
    resample_matrix,
)

BASE = (4, 6, 5)
AXES = ["hw", "hc", "wc", "chw", "c", "h", "w", "wh", "ch"]


def random_map(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("size", [(6, 5), (12, 10), (7, 3), (1, 1), (1, 8), (33, 2)])
def test_untrained_filters_are_the_identity_at_any_size(kind: str, axes: str, size: tuple[int, int]) -> None:
    x = random_map(2, 4, *size)
    torch.testing.assert_close(FILTERS[kind](axes, BASE)(x), x, atol=1e-6, rtol=0)


def circular_convolution(x: np.ndarray, kernel: np.ndarray, dims: tuple[int, ...]) -> np.ndarray:
    """y[n] = sum over m of kernel[m] x[n - m] along `dims` of (C, H, W), term by term; other axes are positions."""
    shifts = itertools.product(*(range(x.shape[dim]) for dim in dims))
    total = np.zeros_like(x)
    for shift in shifts:
        picked = kernel
        for dim, offset in zip(dims, shift, strict=True):
            picked = picked.take([offset], axis=dim)
        total += picked * np.roll(x, shift, axis=dims)
    return total


@pytest.mark.parametrize("axes", AXES)
def test_the_product_of_spectra_is_circular_convolution(axes: str) -> None:
    module = SpectralFilter(axes, BASE)
    dims = tuple("chw".index(axis) for axis in axes)
    kernel = random_map(*BASE, seed=1)
    with torch.no_grad():
        module.weight.copy_(torch.view_as_real(torch.fft.rfftn(kernel, dim=dims)))
    x = random_map(2, *BASE)
    expected = [circular_convolution(part, kernel.double().numpy(), dims) for part in x.double().numpy()]
    np.testing.assert_allclose(module(x).detach().numpy(), np.stack(expected), atol=1e-4)


@pytest.mark.parametrize("axes", AXES)
def test_a_filter_is_linear_and_real(axes: str) -> None:
    module = SpectralFilter(axes, BASE)
    nn.init.normal_(module.weight)
    x, y = random_map(1, 4, 7, 9), random_map(1, 4, 7, 9, seed=1)
    with torch.no_grad():
        torch.testing.assert_close(module(2 * x - 3 * y), 2 * module(x) - 3 * module(y), atol=1e-4, rtol=1e-4)
    assert module(x).dtype == torch.float32


def test_a_stored_filter_keeps_its_frequency_response_at_other_sizes() -> None:
    """A response that is linear in the frequency's magnitude is read exactly between the stored frequencies."""
    base = 16

    def response(size: int) -> torch.Tensor:
        rows = torch.fft.fftfreq(size).abs()[:, None]
        columns = torch.fft.rfftfreq(size).abs()[None, :]
        return 1 - rows - 0.5 * columns

    module = SpectralFilter("hw", (1, base, base))
    with torch.no_grad():
        module.weight[..., 0] = response(base)
    for size in (8, 12, 16, 24, 40):
        weight = module.weight_for(size, size)
        torch.testing.assert_close(weight.real[0], response(size), atol=1e-6, rtol=0)
        assert not weight.imag.any()


@given(st.integers(1, 40), st.integers(2, 40), st.sampled_from(["position", "full", "half"]))
def test_resampling_averages(size: int, base: int, kind: str) -> None:
    matrix = resample_matrix(size, base, kind)
    expected = (size // 2 + 1, base // 2 + 1) if kind == "half" else (size, base)
    assert matrix.shape == expected
    assert (matrix >= 0).all()
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(expected[0]))


@pytest.mark.parametrize("kind", ["position", "full", "half"])
@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_resampling_to_the_same_size_changes_nothing(kind: str, size: int) -> None:
    matrix = resample_matrix(size, size, kind)
    torch.testing.assert_close(matrix, torch.eye(len(matrix)), atol=0, rtol=0)


@pytest.mark.parametrize("kind", FILTERS)
def test_resampled_weights_are_cached_without_gradient_and_follow_the_weight(kind: str) -> None:
    module = FILTERS[kind]("hw", (2, 8, 8))
    with torch.no_grad():
        first = module.weight_for(6, 6)
        assert module.weight_for(6, 6) is first
        module.weight.mul_(2)
        torch.testing.assert_close(module.weight_for(6, 6), 2 * first)
    assert module.weight_for(6, 6).requires_grad


@pytest.mark.parametrize("kind", FILTERS)
def test_filters_made_in_inference_mode_answer(kind: str) -> None:
    with torch.inference_mode():
        module = FILTERS[kind]("hw", (2, 8, 8))
        x = random_map(1, 2, 6, 6)
        torch.testing.assert_close(module(x), x, atol=1e-5, rtol=0)
        assert module.weight_for(6, 6) is module.weight_for(6, 6)


@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("axes", ["hw", "hc", "wc", "chw"])
def test_resampled_weights_are_the_same_to_the_bit_for_any_number_of_threads(kind: str, axes: str) -> None:
    module = FILTERS[kind](axes, (64, 28, 28))
    nn.init.normal_(module.weight)
    before = torch.get_num_threads()
    try:
        weights = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            with torch.no_grad():
                weights.append([copy.deepcopy(module).weight_for(side, side) for side in (8, 12, 20)])
    finally:
        torch.set_num_threads(before)
    for others in weights[1:]:
        assert all(torch.equal(one, other) for one, other in zip(weights[0], others, strict=True))
    # With a gradient they come from a product of matrices.
    torch.testing.assert_close(module.weight_for(12, 12).detach(), weights[0][1])


@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("axes", ["hw", "hc", "wc", "chw"])
@pytest.mark.parametrize("size", [(6, 5), (9, 4)])
def test_gradients_reach_weights_and_input(kind: str, axes: str, size: tuple[int, int]) -> None:
    module = FILTERS[kind](axes, BASE)
    x = random_map(1, 4, *size).requires_grad_()
    module(x).square().sum().backward()
    for gradient in (x.grad, module.weight.grad):
        assert gradient is not None
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0


@pytest.mark.parametrize("kind", FILTERS)
def test_filters_compute_in_float32_inside_autocast(kind: str) -> None:
    module = FILTERS[kind]("hw", (4, 8, 8))
    nn.init.normal_(module.weight)
    x = random_map(1, 4, 8, 8)
    expected = module(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module(x), expected)
        half = module(x.bfloat16())
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, module(x.bfloat16().float()).bfloat16())


@pytest.mark.parametrize("axes", ["", "hh", "hx", "HW"])
@pytest.mark.parametrize("kind", FILTERS)
def test_axes_that_are_none_are_refused(kind: str, axes: str) -> None:
    with pytest.raises(ValueError, match="different letters of 'chw'"):
        FILTERS[kind](axes, BASE)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_wavelet_transform_is_inverted_and_keeps_the_norm(dim: int) -> None:
    x = random_map(2, 4, 6, 8)
    spectrum = haar(x, dim)
    torch.testing.assert_close(inverse_haar(spectrum, dim), x, atol=1e-6, rtol=0)
    torch.testing.assert_close(spectrum.norm(), x.norm())


def test_haar_by_hand() -> None:
    x = torch.tensor([[1.0, 3.0, 10.0, 4.0]])
    torch.testing.assert_close(haar(x, 1), torch.tensor([[4.0, 14.0, -2.0, 6.0]]) / 2**0.5)


def test_a_wavelet_filter_that_keeps_the_sums_averages_pairs() -> None:
    module = WaveletFilter("h", (1, 4, 1))
    with torch.no_grad():
        module.weight[:, 2:] = 0
    x = torch.tensor([1.0, 3.0, 10.0, 4.0]).view(1, 1, 4, 1)
    assert module(x).flatten().tolist() == pytest.approx([2, 2, 7, 7])


def test_wavelet_bands_are_resampled_apart() -> None:
    module = WaveletFilter("hw", (2, 8, 8))
    with torch.no_grad():
        module.weight[:, 4:] = 0
    weight = module.weight_for(12, 6)
    assert (weight[:, :6] == 1).all()
    assert (weight[:, 6:] == 0).all()


@pytest.mark.parametrize("transform", FILTERS)
@pytest.mark.parametrize("off", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_a_transform_that_is_off_passes_its_quarter_unchanged(transform: str, off: tuple[int, ...]) -> None:
    axes = [None if index in off else name for index, name in enumerate(("hw", "hc", "wc"))]
    module = FreqModule(8, (6, 6), transform=transform, axes=axes)
    for parameter in module.filters.parameters():
        nn.init.normal_(parameter)
    x = random_map(2, 8, 6, 6)
    y = module(x)
    torch.testing.assert_close(y[:, :2], module.spatial(x[:, :2]))
    for quarter in range(3):
        part = slice(2 * quarter + 2, 2 * quarter + 4)
        assert torch.equal(y[:, part], x[:, part]) == (quarter in off)
    assert len(list(module.filters.parameters())) == 3 - len(off)


def test_three_dimensional_transforms_take_any_quarter() -> None:
    module = FreqModule(8, (6, 6), axes=("chw", "chw", "chw"))
    x = random_map(2, 8, 6, 6)
    torch.testing.assert_close(module(x)[:, 2:], x[:, 2:], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 6}, "multiple of 4"),
        ({"axes": ("hw", "hc")}, "three quarters"),
        ({"transform": "cosine"}, "fourier"),
    ],
)
def test_a_module_that_cannot_be_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FreqModule(**{"channels": 8, "base": (4, 4)} | arguments)


@pytest.mark.parametrize("channels", [4, 8, 20, 36])
def test_a_block_keeps_the_shape_of_any_map(channels: int) -> None:
    block = FreqBlock(channels, FreqModule(channels, (8, 8)), ratio=2)
    for size in ((8, 8), (5, 9), (1, 2)):
        assert block(random_map(1, channels, *size)).shape == (1, channels, *size)


def test_a_block_adds_to_its_input() -> None:
    block = FreqBlock(8, FreqModule(8, (4, 4), axes=(None, None, None)))
    for convolution in (block.fc2, block.freq.spatial[1]):
        nn.init.zeros_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    x = random_map(1, 8, 4, 4)
    expected = x.clone()
    expected[:, 2:] += block.norm1(x)[:, 2:]
    torch.testing.assert_close(block(x), expected)
