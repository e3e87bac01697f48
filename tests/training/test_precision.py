from __future__ import annotations

import contextlib

import pytest
import torch
from trainees import blob_pictures, quick_config

from activefreq.training.batches import Mixture
from activefreq.training.config import load_preset
from activefreq.training.engine import TrainingRun
from activefreq.training.precision import resolve_precision
from activefreq.training.start import initial_model

CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, "float32"),
        ({"avx2": True, "avx512_bf16": True, "amx_bf16": False}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
        ({}, "float32"),
    ],
)
def test_a_cpu_takes_what_it_has_instructions_for(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolve_precision("auto", CPU) == expected
    assert resolve_precision("float16", CPU) == "float16"


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float16")])
def test_an_older_gpu_does_not_emulate(monkeypatch: pytest.MonkeyPatch, native: bool, expected: str) -> None:
    asked: list[object] = []

    def supported(*, including_emulation: bool) -> bool:
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "device", lambda device: asked.append(device) or contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert resolve_precision("auto", GPU) == expected
    assert asked == [GPU]


def test_a_training_knows_what_it_computes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_preset("cpu").precision == "auto"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    config = quick_config(precision="auto")
    run = TrainingRun(initial_model(config), config, Mixture([blob_pictures(2)]))
    assert run.config == quick_config(precision="bfloat16")
