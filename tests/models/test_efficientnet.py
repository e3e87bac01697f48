from __future__ import annotations

import pytest
import timm
import torch

from activefreq.models.efficientnet import EfficientNetEncoder


@pytest.mark.parametrize("size", [(64, 64), (97, 50)])
def test_with_an_untrained_prompt_the_features_are_timms(size: tuple[int, int]) -> None:
    encoder = EfficientNetEncoder().eval()
    network = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4)).eval()
    network.load_state_dict({name: value for name, value in encoder.state_dict().items() if name != "prompt.weight"})
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        features = encoder(image, torch.rand(1, 3, *size))
        expected = network(image)
    assert [feature.shape[1] for feature in features] == list(encoder.channels)
    for feature, wanted in zip(features, expected, strict=True):
        torch.testing.assert_close(feature, wanted)


def test_a_trained_prompt_reaches_the_first_features() -> None:
    encoder = EfficientNetEncoder().eval()
    torch.nn.init.normal_(encoder.prompt.weight)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        one, other = (encoder(image, torch.full_like(image, value))[0] for value in (0.0, 1.0))
    assert not torch.allclose(one, other)
