from __future__ import annotations

import pytest
import torch

from activefreq.models.backbones import BackboneConfig, make_backbone


@pytest.mark.parametrize(
    ("network", "options"),
    [
        ("UNet", {"channels": [4, 8, 8], "strides": [2, 2]}),
        ("BasicUNet", {"features": [4, 4, 8, 8, 8, 4]}),
        ("SegResNet", {"init_filters": 8, "blocks_down": [1, 1, 1], "blocks_up": [1, 1]}),
        ("AttentionUnet", {"channels": [4, 8], "strides": [2]}),
    ],
)
def test_networks_are_named_by_class_and_options(network: str, options: dict) -> None:
    backbone = make_backbone(BackboneConfig("monai", {"network": network, "options": options, "width": 6})).eval()
    assert type(backbone.network).__name__ == network
    assert backbone.feature_channels == 6
    with torch.no_grad():
        logits, feature = backbone(torch.randn(1, 3, 45, 70), torch.rand(1, 3, 45, 70))
    assert logits.shape == (1, 1, 45, 70)
    assert feature.shape == (1, 6, 45, 70)


def test_the_prompt_matters() -> None:
    backbone = make_backbone(BackboneConfig("monai")).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        one, other = (backbone(image, torch.full_like(image, value)).logits for value in (0.0, 1.0))
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("name", ["UNeet", "Sequence", "unetr"])
def test_a_network_that_monai_has_not_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"no network '{name}'"):
        make_backbone(BackboneConfig("monai", {"network": name}))


def test_options_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"MONAI's UNet cannot be made .*depth"):
        make_backbone(BackboneConfig("monai", {"options": {"depth": 3}}))
