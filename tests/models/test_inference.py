from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from activefreq.clicks import Click
from activefreq.models.backbones import BACKBONES, BackboneConfig
from activefreq.models.checkpoint import Checkpoint, save_checkpoint
from activefreq.models.config import ModelConfig
from activefreq.models.inference import (
    STRIP,
    Convolution,
    Linear,
    TransposedConvolution,
    is_prepared,
    prepare_for_inference,
)
from activefreq.models.interactive import InteractiveModel
from activefreq.models.spectral import FreqBlock, FreqModule
from activefreq.session import SessionState, prepare_image
from activefreq.session.step import step

CPU = torch.device("cpu")


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def make(name: str, size: int = 64) -> InteractiveModel:
    """Random weights, and normalizations as uneven as a training leaves them."""
    torch.manual_seed(0)
    model = InteractiveModel(ModelConfig(BackboneConfig(name), input_size=size, refine_size=size))
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    nn.init.normal_(model.refiner.detail.weight, std=0.1)
    return model.eval()


def requests(count: int) -> list[tuple]:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        image = prepare_image(rng.integers(0, 256, (*rng.integers(30, 120, 2), 3), np.uint8))
        mask = rng.random(image.shape) < 0.5
        made.append((image, SessionState.start(image.shape, mask), Click(3, 4)))
        made.append((image, SessionState.start(image.shape), Click(20, 10)))
    return made


@pytest.mark.parametrize("name", BACKBONES)
def test_a_prepared_model_answers_as_the_model_itself(name: str) -> None:
    model = make(name)
    prepared = prepare_for_inference(model, CPU)
    generator = torch.Generator().manual_seed(1)
    image, prompt = (torch.rand(2, 3, 64, 64, generator=generator) for _ in range(2))
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.2, 0.3, 0.7, 0.9]])
    with torch.inference_mode():
        coarse, expected = (each.coarse(image, prompt) for each in (prepared, model))
        refined, wanted = (each.refine(image, prompt[:, 1:], expected, boxes) for each in (prepared, model))
    for mine, other in zip((*coarse, *refined), (*expected, *wanted), strict=True):
        # Random weights blow numbers up; rounding grows with them.
        assert (mine - other).abs().max() < 1e-4 * other.abs().max()


@pytest.mark.parametrize("options", [(3, 2, 1, 1), (2, 2, 0, 0), (4, 2, 1, 0), (3, 1, 1, 0), (5, 3, 2, 1)])
@pytest.mark.parametrize("bias", [False, True])
def test_transposed_convolutions_are_pytorchs(options: tuple[int, int, int, int], bias: bool) -> None:
    conv = nn.ConvTranspose2d(6, 5, *options, bias=bias)
    x = torch.randn(2, 6, 7, 9)
    with torch.inference_mode():
        torch.testing.assert_close(TransposedConvolution(conv)(x), conv(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
def test_the_answer_is_the_same_to_the_bit_for_any_number_of_threads_and_any_company(name: str, threads: None) -> None:
    model = prepare_for_inference(make(name), CPU)
    asked = requests(1)
    torch.set_num_threads(1)
    expected = step(model, asked)
    for count in (2, 3):
        torch.set_num_threads(count)
        for one, request, other in zip(step(model, asked[::-1])[::-1], asked, expected, strict=True):
            np.testing.assert_array_equal(one.probability, other.probability)
            np.testing.assert_array_equal(step(model, [request])[0].probability, other.probability)


def test_the_given_model_stays_as_it_is() -> None:
    model = make("freqformer-lite")
    before = {name: (value.clone(), value.stride()) for name, value in model.state_dict().items()}
    model.train()
    prepared = prepare_for_inference(model, CPU)
    assert model.training
    assert not prepared.training
    assert not is_prepared(model)
    assert all(parameter.requires_grad for parameter in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name][0])
        assert value.stride() == before[name][1]


def test_a_prepared_model_is_not_prepared_again_or_saved(tmp_path_factory: pytest.TempPathFactory) -> None:
    prepared = prepare_for_inference(make("freqformer-lite"), CPU)
    assert is_prepared(prepared)
    assert prepare_for_inference(prepared, CPU) is prepared
    path = tmp_path_factory.mktemp("prepared") / "model.pt"
    with pytest.raises(ValueError, match="cannot be saved"):
        save_checkpoint(path, Checkpoint(prepared))
    assert not path.exists()


def test_batch_norms_and_activations_after_convolutions_are_folded() -> None:
    prepared = prepare_for_inference(make("freqformer-lite"), CPU)
    norms = [name for name, module in prepared.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms == ["backbone.encoder.bn1"]  # two convolutions are summed before it
    assert not any(type(module) is nn.Conv2d for module in prepared.modules())
    block = prepared.backbone.encoder.blocks[2][0]
    assert isinstance(block.conv_dw, Convolution)
    assert block.conv_dw.activation == "hardtanh"
    assert block.conv_pwl.activation == "none"
    assert prepared.refiner.stem[0].activation == "relu"


@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_layers_take_a_residual_and_any_shape_after_another(kind: str) -> None:
    layer = nn.Linear(5, 7) if kind == "linear" else nn.Conv2d(5, 7, 1)
    made = Linear(layer) if kind == "linear" else Convolution(layer)
    if isinstance(made, Convolution):
        made.onednn = True
    assert made.adds
    with torch.inference_mode():
        for length in (6, 1, 6):
            shape = (2, length, 5) if kind == "linear" else (2, 5, length, 3)
            x = torch.randn(shape)
            residual = torch.randn((2, length, 7) if kind == "linear" else (2, 7, length, 3))
            torch.testing.assert_close(made(x), layer(x), atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(made(x, residual), residual + layer(x), atol=1e-5, rtol=1e-5)


def test_a_layer_with_an_activation_takes_no_residual() -> None:
    """The sum would come before the activation."""
    block = prepare_for_inference(make("freqformer"), CPU).backbone.layers[0]
    assert block.fc2.adds
    assert not block.fc1.adds


def test_a_prepared_model_can_be_copied_after_it_has_answered() -> None:
    model = prepare_for_inference(make("freqformer-lite"), CPU)
    asked = requests(1)
    expected = step(model, asked)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        for one, other in zip(step(copied, asked), expected, strict=True):
            np.testing.assert_array_equal(one.probability, other.probability)


@pytest.mark.parametrize("size", [(16, 16), (17, 5), (1, 40)])
def test_strips_change_nothing(size: tuple[int, int]) -> None:
    block = FreqBlock(8, FreqModule(8, (8, 8))).eval()
    x = torch.randn(2, 8, *size).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = block(x)
        for strip in (1, 32, 48, STRIP):
            block.strip = strip
            torch.testing.assert_close(block(x), expected, atol=1e-6, rtol=1e-6)


def test_a_gpu_computes_convolutions_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    model = prepare_for_inference(InteractiveModel(), CPU)
    assert torch.backends.cudnn.allow_tf32
    # There need be no GPU: the model stays where it is.
    monkeypatch.setattr(InteractiveModel, "to", lambda self, *_, **__: self)
    prepare_for_inference(model, torch.device("cuda"))
    assert not torch.backends.cudnn.allow_tf32
