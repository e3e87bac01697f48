from __future__ import annotations

import pytest
import torch
from torch import nn

from activefreq.models.refiner import Refiner, RefinerConfig, align


def inputs(side: int = 64, feature: int = 16) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "image": torch.randn(2, 3, side, side, generator=generator),
        "disks": torch.rand(2, 2, side, side, generator=generator).round(),
        "feature": torch.randn(2, feature, 16, 16, generator=generator),
        "coarse": torch.randn(2, 1, 64, 64, generator=generator),
        "boxes": torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.25, 0.5, 0.75, 0.875]]),
    }


def test_it_has_the_published_size() -> None:
    """FocalClick's refiner reads a 256-channel feature and has 0.0165 M parameters, 320 of them needless biases."""
    assert sum(parameter.numel() for parameter in Refiner(256).parameters()) == 16_450 - 320


def test_where_the_gate_is_shut_the_coarse_logits_stay() -> None:
    refiner = Refiner(16).eval()
    nn.init.zeros_(refiner.detail.weight)
    nn.init.constant_(refiner.detail.bias, -100.0)
    with torch.no_grad():
        output = refiner(**inputs())
    torch.testing.assert_close(output.logits, output.coarse, atol=0, rtol=0)
    torch.testing.assert_close(output.coarse[0], inputs()["coarse"][0])


def test_where_the_gate_is_open_the_prediction_replaces_them() -> None:
    refiner = Refiner(16).eval()
    for head, value in ((refiner.detail, 100.0), (refiner.prediction, 3.0)):
        nn.init.zeros_(head.weight)
        nn.init.constant_(head.bias, value)
    with torch.no_grad():
        assert (refiner(**inputs()).logits == 3.0).all()


@pytest.mark.parametrize("side", [64, 40, 33, 5, 1])
def test_any_size_is_refined(side: int) -> None:
    with torch.no_grad():
        output = Refiner(16, RefinerConfig(channels=8)).eval()(**inputs(side))
    assert all(part.shape == (2, 1, side, side) and part.isfinite().all() for part in output)


@pytest.mark.parametrize("name", ["image", "disks", "feature", "coarse", "boxes"])
def test_every_input_matters(name: str) -> None:
    torch.manual_seed(0)
    refiner = Refiner(16).eval()
    arguments = inputs()
    with torch.no_grad():
        before = refiner(**arguments).logits
        changed = arguments[name].flip(0) if name == "boxes" else arguments[name] + 1
        assert not torch.allclose(before, refiner(**arguments | {name: changed}).logits)


def test_gradients_reach_every_parameter() -> None:
    refiner = Refiner(16)
    output = refiner(**inputs())
    (output.logits.square().mean() + output.detail.mean()).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in refiner.parameters())


def test_aligning_the_whole_map_to_its_own_size_is_the_identity() -> None:
    maps = torch.randn(2, 3, 8, 12)
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 2)
    torch.testing.assert_close(align(maps, boxes, (8, 12)), maps)


def test_aligning_reads_the_box() -> None:
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(16.0), indexing="ij")
    maps = torch.stack([rows, columns])[None]
    region = align(maps, torch.tensor([[0.25, 0.5, 0.75, 1.0]]), (4, 8))
    torch.testing.assert_close(region[0, 0, :, 0], torch.tensor([2.0, 3.0, 4.0, 5.0]))
    torch.testing.assert_close(region[0, 1, 0], torch.arange(8.0, 16.0))
    half = align(maps, torch.tensor([[0.25, 0.5, 0.75, 1.0]]), (2, 4))
    torch.testing.assert_close(half[0, 0, :, 0], torch.tensor([2.5, 4.5]))
    torch.testing.assert_close(half[0, 1, 0], torch.tensor([8.5, 10.5, 12.5, 14.5]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_boxes_keep_their_place_in_mixed_precision(dtype: torch.dtype) -> None:
    """A ramp says where it was read; in half precision 0.7383 of 256 pixels would be rounded to a whole one."""
    ramp = (torch.arange(256.0) / 256).expand(1, 1, 256, 256)
    boxes = torch.tensor([[0.1, 0.7383, 0.6, 0.9141]])
    exact = align(ramp, boxes, (64, 64))
    torch.testing.assert_close(align(ramp.to(dtype), boxes, (64, 64)), exact, atol=2**-9, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(align(ramp, boxes, (64, 64)), exact, atol=0, rtol=0)
    assert exact.dtype == torch.float32
