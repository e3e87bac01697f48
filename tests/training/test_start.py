from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import timm
import torch
from trainees import quick_config

from activefreq.errors import CheckpointError, InputError
from activefreq.models.backbones import BackboneConfig
from activefreq.models.checkpoint import Checkpoint, save_checkpoint
from activefreq.models.config import ModelConfig
from activefreq.models.efficientnet import EfficientNetEncoder
from activefreq.models.pretrained import load_efficientnet_lite
from activefreq.training.config import load_preset
from activefreq.training.start import encoder_weights_file, initial_model, packaged_weights


def test_random_weights_depend_on_the_seed_alone() -> None:
    config = quick_config()
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    one = initial_model(config).state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    same, other = (initial_model(quick_config(seed=seed)).state_dict() for seed in (0, 5))
    assert all(torch.equal(one[name], value) for name, value in same.items())
    assert not torch.equal(one["backbone.classifier.weight"], other["backbone.classifier.weight"])


def test_the_cpu_preset_begins_with_the_packages_weights() -> None:
    config = load_preset("cpu")
    assert config.encoder_weights == "auto"
    model = initial_model(config)
    expected = EfficientNetEncoder()
    load_efficientnet_lite(expected, packaged_weights("efficientnet-lite0"))
    for name, value in expected.state_dict().items():
        if not name.startswith("prompt."):
            assert torch.equal(model.backbone.encoder.state_dict()[name], value), name
    random = initial_model(dataclasses.replace(config, encoder_weights=None))
    assert not torch.equal(random.backbone.encoder.conv_stem.weight, model.backbone.encoder.conv_stem.weight)
    # Only the encoder comes from there.
    assert torch.equal(random.backbone.classifier.weight, model.backbone.classifier.weight)
    assert encoder_weights_file(config, model) == packaged_weights("efficientnet-lite0")


def test_a_checkpoints_weights_are_taken_over_at_another_input_size(tmp_path: Path) -> None:
    config = quick_config(seed=3)
    source = initial_model(config)
    save_checkpoint(tmp_path / "source.pt", Checkpoint(source))
    larger = quick_config(model=dataclasses.replace(config.model, input_size=96), encoder_weights="auto")
    model = initial_model(larger, init=tmp_path / "source.pt")
    assert all(torch.equal(model.state_dict()[name], value) for name, value in source.state_dict().items())
    assert model.config.input_size == 96


def test_what_is_not_there_or_does_not_fit_is_named(tmp_path: Path) -> None:
    config = quick_config()
    with pytest.raises(CheckpointError, match="nowhere"):
        initial_model(config, init="nowhere")
    save_checkpoint(tmp_path / "source.pt", Checkpoint(initial_model(config)))
    wider = dataclasses.replace(
        config.model, backbone=BackboneConfig("freqformer-lite", {**config.model.backbone.options, "width": 24})
    )
    with pytest.raises(CheckpointError, match=r"another network .*'freqformer-lite'.*, not .*'width': 24") as told:
        initial_model(quick_config(model=wider), init=tmp_path / "source.pt")
    assert "\n" not in str(told.value)
    assert "state_dict" not in str(told.value)
    with pytest.raises(CheckpointError, match=r"missing\.pth"):
        initial_model(quick_config(encoder_weights=str(tmp_path / "missing.pth")))
    paper = ModelConfig(BackboneConfig("freqformer", config.model.backbone.options))
    with pytest.raises(CheckpointError, match="no package brings weights for the encoder 'mit-paper'"):
        initial_model(quick_config(model=paper, encoder_weights="auto"))
    lite = str(packaged_weights("efficientnet-lite0"))
    with pytest.raises(CheckpointError, match="lacks 176 weights of the encoder"):
        initial_model(quick_config(model=paper, encoder_weights=lite))
    with pytest.raises(InputError, match="'monai' has no encoder that takes published weights"):
        initial_model(quick_config(model=ModelConfig(BackboneConfig("monai")), encoder_weights=lite))


def test_a_training_begins_with_the_file_that_is_named(tmp_path: Path) -> None:
    published = timm.create_model("hrnet_w18", pretrained=False).state_dict()
    torch.save(published, tmp_path / "hrnet_w18.pth")
    network = ModelConfig(BackboneConfig("hrnet-18"))
    config = quick_config(model=network, encoder_weights=str(tmp_path / "hrnet_w18.pth"))
    model = initial_model(config)
    assert encoder_weights_file(config, model) == tmp_path / "hrnet_w18.pth"
    for name, value in model.backbone.encoder.network.state_dict().items():
        assert torch.equal(published[name], value), name
