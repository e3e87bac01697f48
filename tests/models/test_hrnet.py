from __future__ import annotations

import pytest
import timm
import torch

from activefreq.models.hrnet import HRNet, HRNetEncoder


def test_with_an_untrained_prompt_the_features_are_timms() -> None:
    encoder = HRNetEncoder("hrnet_w18_small").eval()
    network = timm.create_model(
        "hrnet_w18_small", features_only=True, feature_location="", out_indices=(1, 2, 3, 4)
    ).eval()
    network.load_state_dict(encoder.network.state_dict())
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        features = encoder(image, torch.rand(1, 3, 64, 96))
        for one, other in zip(features, network(image), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("size", [(33, 71), (64, 32)])
def test_any_size_is_segmented(size: tuple[int, int]) -> None:
    model = HRNet().eval()
    with torch.no_grad():
        logits, feature = model(torch.randn(1, 3, *size), torch.rand(1, 3, *size))
    assert logits.shape == (1, 1, *size)
    assert feature.shape == (1, 128, -(-size[0] // 4), -(-size[1] // 4))
