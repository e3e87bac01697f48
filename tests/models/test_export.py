from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from activefreq.models.backbones import BackboneConfig
from activefreq.models.checkpoint import Checkpoint
from activefreq.models.config import ModelConfig, SessionConfig
from activefreq.models.export import (
    OPSET,
    FixedWavelet,
    MatrixFilter,
    describe_tensors,
    export_onnx,
    largest_difference,
)
from activefreq.models.inference import prepare_for_inference
from activefreq.models.interactive import InteractiveModel
from activefreq.models.refiner import RefinerConfig
from activefreq.models.spectral import SpectralFilter, WaveletFilter

AXES = ["hw", "hc", "wc", "chw", "wh", "c", "h"]
SIZES = [(6, 5), (12, 10), (7, 3), (1, 8)]
BASE = (4, 6, 5)
SMALL = {"width": 16, "dims": (16, 16, 8, 8), "base_size": 48}


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("size", SIZES)
def test_products_of_matrices_are_the_fourier_filter(axes: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    module = SpectralFilter(axes, BASE)
    nn.init.normal_(module.weight)
    x = torch.randn(2, 4, *size)
    with torch.no_grad():
        torch.testing.assert_close(MatrixFilter(module, *size)(x), module(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("size", SIZES)
def test_a_wavelet_filter_of_fixed_size_is_the_filter(axes: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    module = WaveletFilter(axes, BASE)
    nn.init.normal_(module.weight)
    x = torch.randn(2, 4, *size)
    with torch.no_grad():
        torch.testing.assert_close(FixedWavelet(module, *size)(x), module(x), atol=1e-6, rtol=1e-6)


def make(name: str, options: dict, side: int = 64) -> InteractiveModel:
    """Random weights, spectral ones too: untrained they would be the identity."""
    torch.manual_seed(0)
    model = InteractiveModel(
        ModelConfig(BackboneConfig(name, options), RefinerConfig(channels=8), input_size=side, refine_size=32)
    )
    for module in model.modules():
        if isinstance(module, (SpectralFilter, WaveletFilter)):
            nn.init.normal_(module.weight)
    nn.init.normal_(model.refiner.detail.weight)
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("freqformer", SMALL),
        ("freqformer", SMALL | {"transform": "haar"}),
        ("freqformer", SMALL | {"axes": ("chw", "hc", None)}),
        ("segformer-b0", {"width": 16}),
    ],
    ids=["fourier", "haar", "3d", "segformer"],
)
def test_onnxruntime_answers_as_pytorch(name: str, options: dict, tmp_path: Path) -> None:
    """float32 has 24 bits: sums of some hundred products in another order differ by some 1e-6 of the largest value."""
    checkpoint = Checkpoint(make(name, options), SessionConfig(focus_share=0.3))
    before = {key: value.clone() for key, value in checkpoint.model.state_dict().items()}
    coarse, refine = export_onnx(checkpoint, tmp_path)
    for batch in (1, 3):
        assert largest_difference(checkpoint, tmp_path, batch=batch, seed=batch) < 2e-5

    assert describe_tensors(coarse)[:3] == [
        "input image: float32 (batch, 3, 64, 64)",
        "input prompt: float32 (batch, 3, 64, 64)",
        "output logits: float32 (batch, 1, 64, 64)",
    ]
    assert describe_tensors(refine)[-2:] == [
        "input boxes: float32 (batch, 4)",
        "output refined: float32 (batch, 1, 32, 32)",
    ]
    for path in (coarse, refine):
        written = onnx.load(path)
        assert [(entry.domain, entry.version) for entry in written.opset_import] == [("", OPSET)]
        about = json.loads({entry.key: entry.value for entry in written.metadata_props}["activefreq"])
        assert (about["input_size"], about["refine_size"], about["disk_radius"]) == (64, 32, 5.0)
        assert about["session"]["focus_share"] == 0.3
    assert sum(node.op_type == "RoiAlign" for node in onnx.load(refine).graph.node) == 2
    assert sorted(tmp_path.iterdir()) == [coarse, refine]
    assert all(torch.equal(value, before[key]) for key, value in checkpoint.model.state_dict().items())


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    model = make("freqformer", SMALL)
    with pytest.raises(ValueError, match="prepared for inference"):
        export_onnx(Checkpoint(prepare_for_inference(model, torch.device("cpu"))), tmp_path)
    with pytest.raises(ValueError, match="multiple of 32, not 40"):
        export_onnx(Checkpoint(make("freqformer", SMALL, side=40)), tmp_path)
    assert not list(tmp_path.iterdir())
