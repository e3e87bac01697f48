from __future__ import annotations

import pytest
import torch

from activefreq.models.segformer import SegFormer, SegFormerConfig


def test_it_has_the_published_size() -> None:
    """FocalClick counts 3.719 M, side embedding of three channels (4704) and biases of its layers included."""
    model = SegFormer()
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(3.719e6, rel=0.001)


@pytest.mark.parametrize("size", [(64, 64), (33, 71)])
def test_the_feature_is_the_fused_map_at_a_quarter(size: tuple[int, int]) -> None:
    model = SegFormer(SegFormerConfig(width=16)).eval()
    with torch.no_grad():
        logits, feature = model(torch.randn(1, 3, *size), torch.rand(1, 3, *size))
    assert logits.shape == (1, 1, *size)
    assert feature.shape == (1, 16, -(-size[0] // 4), -(-size[1] // 4))
    assert (feature >= 0).all()
