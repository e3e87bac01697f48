from __future__ import annotations

import pytest
import torch

from activefreq.errors import InputError
from activefreq.models.backbones import BACKBONES, BackboneConfig, make_backbone


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_answers_alike(name: str) -> None:
    backbone = make_backbone(BackboneConfig(name)).eval()
    with torch.no_grad():
        output = backbone(torch.randn(1, 3, 64, 96), torch.rand(1, 3, 64, 96))
    assert output.logits.shape == (1, 1, 64, 96)
    assert output.feature.shape[:2] == (1, backbone.feature_channels)
    assert output.logits.isfinite().all()


def test_options_replace_a_names_own() -> None:
    backbone = make_backbone(
        BackboneConfig("freqformer", {"width": 8, "dims": [16, 8, 8, 8], "axes": [None, "hc", "wc"]})
    )
    assert backbone.config.dims == (16, 8, 8, 8)
    assert backbone.config.axes == (None, "hc", "wc")
    assert backbone.config.encoder == "mit-paper"


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(InputError, match="unknown backbone 'resnet': one of freqformer"):
        make_backbone(BackboneConfig("resnet"))


def test_options_that_a_backbone_does_not_have_are_named() -> None:
    with pytest.raises(InputError, match=r"freqformer-lite cannot be made with .*'widht': 3"):
        make_backbone(BackboneConfig("freqformer-lite", {"widht": 3}))
