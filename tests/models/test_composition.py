from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from activefreq.models.composition import ComposedRefiner, compose, compose_heads, read_box
from activefreq.models.freqformer import FreqFormer, FreqFormerConfig
from activefreq.models.refiner import Refiner, RefinerConfig, align
from activefreq.models.segformer import SegFormer, SegFormerConfig


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(("kernel", "padding"), [(1, 0), (3, 1), (3, 0), (5, 2)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 7)])
def test_heads_and_their_fusion_are_one_convolution(
    kernel: int, padding: int, bias: bool, size: tuple[int, int]
) -> None:
    if not padding and min(size) < kernel:
        pytest.skip("the map is smaller than the kernel")
    heads = [nn.Conv2d(3, 6, 1), nn.Conv2d(5, 4, 1)]
    fuse = nn.Conv2d(10, 7, kernel, padding=padding, bias=bias)
    inputs = [torch.randn(2, 3, *size), torch.randn(2, 5, *size)]
    with torch.no_grad():
        expected = fuse(torch.cat([head(x) for head, x in zip(heads, inputs, strict=True)], dim=1))
        torch.testing.assert_close(compose(heads, fuse)(torch.cat(inputs, dim=1)), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["freqformer", "segformer"])
@pytest.mark.parametrize("size", [(64, 64), (32, 96), (45, 71)])
def test_a_backbone_with_composed_heads_answers_as_before(kind: str, size: tuple[int, int]) -> None:
    backbone: FreqFormer | SegFormer
    if kind == "freqformer":
        backbone = FreqFormer(FreqFormerConfig(width=16, dims=(16, 8, 8, 8), base_size=64)).eval()
    else:
        backbone = SegFormer(SegFormerConfig(width=16)).eval()
    for head in backbone.heads:
        nn.init.normal_(head.bias)
    image, prompt = torch.randn(1, 3, *size), torch.rand(1, 3, *size)
    with torch.no_grad():
        expected = backbone(image, prompt)
        compose_heads(backbone)
        answer = backbone(image, prompt)
    assert not any(isinstance(head, nn.Conv2d) for head in backbone.heads)
    for mine, other in zip(answer, expected, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)


def test_a_backbone_without_heads_stays() -> None:
    backbone = nn.Sequential(nn.Conv2d(3, 3, 1))
    compose_heads(backbone)
    assert isinstance(backbone[0], nn.Conv2d)


def boxes(count: int) -> torch.Tensor:
    corners = torch.rand(count, 2, 2).sort(dim=1).values
    return corners.flatten(1)


@pytest.mark.parametrize("shape", [(8, 12), (1, 5), (33, 2)])
@pytest.mark.parametrize("size", [(8, 12), (64, 3), (1, 1)])
def test_reading_a_box_is_roi_align(shape: tuple[int, int], size: tuple[int, int]) -> None:
    maps = torch.randn(6, 3, *shape)
    where = torch.cat([boxes(4), torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.5, 0.25, 0.5, 0.25]])])
    torch.testing.assert_close(read_box(maps, where, size), align(maps, where, size), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("feature", [(16, 16), (64, 64), (5, 9)])
@pytest.mark.parametrize("side", [64, 33, 1])
def test_a_composed_refiner_answers_as_the_trained_one(feature: tuple[int, int], side: int) -> None:
    """The feature is narrowed before or after its box is read, whichever is less work."""
    refiner = Refiner(16, RefinerConfig(channels=8)).eval()
    for module in refiner.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.bias)
    arguments = (
        torch.randn(2, 3, side, side),
        torch.rand(2, 2, side, side).round(),
        torch.randn(2, 16, *feature),
        torch.randn(2, 1, 64, 64),
        boxes(2),
    )
    with torch.no_grad():
        expected = refiner(*arguments)
        for mine, other in zip(ComposedRefiner(refiner)(*arguments), expected, strict=True):
            assert (mine - other).abs().max() <= 2e-5 * other.abs().max()


def test_resizing_and_a_linear_head_can_change_places() -> None:
    """What the composition rests on."""
    head, x = nn.Conv2d(4, 9, 1), torch.randn(1, 4, 12, 8)
    for resize in (
        lambda maps: functional.adaptive_avg_pool2d(maps, (5, 4)),
        lambda maps: functional.interpolate(maps, size=(20, 30), mode="bilinear", align_corners=False),
    ):
        torch.testing.assert_close(resize(head(x)), head(resize(x)), atol=1e-6, rtol=1e-5)
