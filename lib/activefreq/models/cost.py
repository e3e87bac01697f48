"""How large a network is, and how much arithmetic a click costs.

Conventions. A multiply-accumulate (MAC) is one multiplication and one addition, counted for convolutions, linear
layers, matrix products and attention: the convention of FocalClick's counter and, it seems, of the paper's Table 3. A
discrete Fourier transform of N complex numbers counts 5 N log2 N real operations, of N real numbers half of that, in
either direction and whatever algorithm computes it; several axes transformed together count as one transform of
all their points. These are operations, not MACs, and are reported beside them.

Left out, as in other counters: normalizations, activations, softmax, sums, products with spectral weights, the Haar
transform (sums and differences), resizing, RoIAlign, and everything that the session does with images. Resampling of
spectral weights to the size at hand is left out because it is done once for a size, not once for a click.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, sdpa_flop_count

from activefreq.models.interactive import InteractiveModel
from activefreq.models.prompts import PROMPT_CHANNELS


@dataclass(frozen=True)
class Work:
    """Arithmetic of one pass.

    Attributes:
        macs: Multiply-accumulates.
        fft_operations: Real operations in Fourier transforms.
    """

    macs: int
    fft_operations: int


@dataclass(frozen=True)
class ModelCost:
    """Size of a network and arithmetic of its two passes for one image."""

    parameters: int
    coarse: Work
    refine: Work


def count_parameters(module: nn.Module) -> int:
    """Learned numbers; one that is used twice counts once."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_work(run: Callable[[], Any]) -> Work:
    """Counts what PyTorch computes while `run` is called, once to warm up and once to count."""
    with torch.inference_mode():
        run()
        with FlopCounterMode(display=False, custom_mapping=_FORMULAS) as counter:
            run()
    operations = counter.get_flop_counts().get("Global", {})
    transforms = sum(count for operation, count in operations.items() if operation in _TRANSFORMS)
    return Work((sum(operations.values()) - transforms) // 2, transforms)


def model_cost(model: InteractiveModel, *, input_size: int = 256, refine_size: int = 256) -> ModelCost:
    """Counts a network, as it is or prepared for inference, on the device it is on.

    Args:
        model: In evaluation mode. One from `prepare_for_inference` computes less than the network it was made of, and
            holds other parameters; published sizes are those of the network itself.
        input_size: Side in pixels of the square crop of the coarse pass.
        refine_size: Side in pixels of the square crop of the refine pass.
    """
    device = next(model.parameters()).device
    image = torch.rand(1, 3, input_size, input_size, device=device)
    prompt = torch.zeros(1, PROMPT_CHANNELS, input_size, input_size, device=device)
    crop = torch.rand(1, 3, refine_size, refine_size, device=device)
    disks = torch.zeros(1, 2, refine_size, refine_size, device=device)
    boxes = torch.tensor([[0.25, 0.25, 0.75, 0.75]], device=device)
    with torch.inference_mode():
        coarse = model.coarse(image, prompt)
    return ModelCost(
        count_parameters(model),
        count_work(lambda: model.coarse(image, prompt)),
        count_work(lambda: model.refine(crop, disks, coarse, boxes)),
    )


def transform_operations(shape: Sequence[int], dims: Sequence[int], *, real: bool) -> int:
    """Operations of a DFT along `dims` of an array.

    Args:
        shape: Of the array; for a real transform that of its real side.
        dims: The axes transformed together.
        real: Whether one side of the transform is real.
    """
    points = math.prod(shape[dim] for dim in dims)
    return round((2.5 if real else 5.0) * math.prod(shape) * math.log2(points)) if points > 1 else 0


# The counter hands shapes to a formula, in place of tensors.
def _r2c(shape: Sequence[int], dims: Sequence[int], *_: Any, **__: Any) -> int:
    return transform_operations(shape, dims, real=True)


def _c2r(shape: Sequence[int], dims: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any) -> int:
    return transform_operations(out_shape, dims, real=True)


def _c2c(shape: Sequence[int], dims: Sequence[int], *_: Any, **__: Any) -> int:
    return transform_operations(shape, dims, real=False)


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _convolution(x: Sequence[int], *others: Any, out_shape: Sequence[int], **__: Any) -> int:
    return conv_flop_count(x, _weight(others, 4, out_shape), out_shape)


def _linear(x: Sequence[int], *others: Any, out_shape: Sequence[int], **__: Any) -> int:
    return 2 * math.prod(out_shape) * x[-1]


def _weight(others: Sequence[Any], rank: int, out_shape: Sequence[int]) -> Sequence[int]:
    """The weight's shape: the first argument, or the second one where a residual stands before it."""
    second = others[1]
    return second if isinstance(second, Sequence) and len(second) == rank else others[0]


_ATEN = torch.ops.aten
_TRANSFORMS = {_ATEN._fft_r2c: _r2c, _ATEN._fft_c2r: _c2r, _ATEN._fft_c2c: _c2c}
_FORMULAS: dict[Any, Callable[..., int]] = {
    **_TRANSFORMS,
    # PyTorch's counter knows attention on GPUs only.
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.mkldnn._convolution_pointwise: _convolution,
    torch.ops.mkldnn._linear_pointwise: _linear,
}
