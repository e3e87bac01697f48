"""ONNX: the two passes of a network as two files that any ONNX runtime computes.

Fourier transforms become what they are: products with real matrices of cosines and sines. These need no complex
numbers, which few operators of ONNX take, and nothing that a runtime may lack. Sizes are fixed when the files are
written, and so spectral weights are stored at the size at which they are used.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from activefreq.errors import InputError
from activefreq.files.atomic import atomic_write
from activefreq.models.checkpoint import Checkpoint
from activefreq.models.coarse import CoarseOutput
from activefreq.models.composition import compose_heads
from activefreq.models.inference import is_prepared
from activefreq.models.interactive import InteractiveModel
from activefreq.models.prompts import PROMPT_CHANNELS
from activefreq.models.spectral import SpectralFilter, WaveletFilter, haar, inverse_haar

OPSET = 18
COARSE = "coarse.onnx"
REFINE = "refine.onnx"


def export_onnx(checkpoint: Checkpoint, folder: Path) -> tuple[Path, Path]:
    """Writes both passes, each atomically: `coarse.onnx` and `refine.onnx`.

    The tensors are float32; B is free, S and R are the network's input and refine size.

    coarse.onnx: image (B, 3, S, S), RGB in [0, 1], and prompt (B, 3, S, S), the previous probability, positive disks
    and negative disks, to logits (B, 1, S, S) and feature (B, F, h, w).

    refine.onnx: image (B, 3, R, R) and disks (B, 2, R, R) of the focus crop, feature and logits of the coarse pass,
    and boxes (B, 4), focus boxes (y0, x0, y1, x1) as fractions of the target crop, to refined (B, 1, R, R), logits.

    Each file's metadata "activefreq" is JSON with the sizes, the disks' radius and the session's settings.

    Args:
        checkpoint: What to write; it is left as it is.
        folder: An existing folder.

    Returns:
        The two paths.

    Raises:
        ValueError: The model was made by `prepare_for_inference`, or its input size is not a multiple of 32.
        OSError: A file cannot be written.
    """
    config = checkpoint.model.config
    if is_prepared(checkpoint.model):
        raise ValueError("a model prepared for inference cannot be exported: export the one it was made from")
    if config.input_size % 32:
        raise InputError(f"the input size must be a multiple of 32, not {config.input_size}")
    model = _portable(checkpoint.model)
    image, prompt = (
        torch.rand(2, 3, config.input_size, config.input_size),
        torch.rand(2, PROMPT_CHANNELS, config.input_size, config.input_size),
    )
    crop, disks = (
        torch.rand(2, 3, config.refine_size, config.refine_size),
        torch.rand(2, 2, config.refine_size, config.refine_size),
    )
    boxes = torch.tensor([[0.1, 0.2, 0.7, 0.9], [0.0, 0.0, 1.0, 1.0]])
    with torch.no_grad():
        coarse = model.coarse(image, prompt)
    about = {
        "input_size": config.input_size,
        "refine_size": config.refine_size,
        "disk_radius": config.disk_radius,
        "backbone": config.backbone.name,
        "session": dataclasses.asdict(checkpoint.session),
    }
    first, second = folder / COARSE, folder / REFINE
    _write(first, _Coarse(model), {"image": image, "prompt": prompt}, ["logits", "feature"], about)
    arguments = {"image": crop, "disks": disks, "feature": coarse.feature, "logits": coarse.logits, "boxes": boxes}
    _write(second, _Refine(model), arguments, ["refined"], about)
    return first, second


def describe_tensors(path: Path) -> list[str]:
    """One line for each input and output of an ONNX file: its name, type and shape."""
    graph = onnx.load(path).graph
    lines = []
    for kind, values in (("input", graph.input), ("output", graph.output)):
        for value in values:
            tensor = value.type.tensor_type
            shape = ", ".join(dim.dim_param or str(dim.dim_value) for dim in tensor.shape.dim)
            name = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
            lines.append(f"{kind} {value.name}: {name} ({shape})")
    return lines


def largest_difference(checkpoint: Checkpoint, folder: Path, *, batch: int = 2, seed: int = 0) -> float:
    """Runs both files in onnxruntime, the second on the answers of the first, and compares them with PyTorch.

    Args:
        checkpoint: What was exported.
        folder: Where it was exported to.
        batch: Images at a time.
        seed: Of the random input.

    Returns:
        The largest absolute difference of logits, feature and refined logits, each as a share of the tensor's largest
        absolute value. Rounding alone gives some 1e-6.
    """
    import onnxruntime

    model, generator = checkpoint.model.eval(), torch.Generator().manual_seed(seed)
    side, crop_side = model.config.input_size, model.config.refine_size
    image = torch.rand(batch, 3, side, side, generator=generator)
    prompt = torch.rand(batch, PROMPT_CHANNELS, side, side, generator=generator)
    crop = torch.rand(batch, 3, crop_side, crop_side, generator=generator)
    disks = torch.rand(batch, 2, crop_side, crop_side, generator=generator).round()
    boxes = torch.rand(batch, 2, 2, generator=generator).sort(dim=1).values.flatten(1)
    with torch.inference_mode():
        expected = model.coarse(image, prompt)
        refined = model.refine(crop, disks, expected, boxes).logits

    def answer(name: str, **inputs: torch.Tensor | np.ndarray) -> list[np.ndarray]:
        session = onnxruntime.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
        return session.run(None, {key: np.asarray(value) for key, value in inputs.items()})

    logits, feature = answer(COARSE, image=image, prompt=prompt)
    (last,) = answer(REFINE, image=crop, disks=disks, feature=feature, logits=logits, boxes=boxes)
    pairs = ((logits, expected.logits), (feature, expected.feature), (last, refined))
    return max(float(np.abs(mine - other.numpy()).max() / other.abs().max()) for mine, other in pairs)


class MatrixFilter(nn.Module):
    """A `SpectralFilter` for one size of map, without complex numbers."""

    def __init__(self, module: SpectralFilter, height: int, width: int) -> None:
        super().__init__()
        shape = (module.base[0], height, width)
        *full, half = module.dims
        with torch.no_grad():
            weight = module.weight_for(height, width).detach()
        self.full, self.half = tuple(full), half
        self.register_buffer("real", weight.real.clone())
        self.register_buffer("imaginary", weight.imag.clone())
        for dim in module.dims:
            size = shape[dim - 1]
            cosine, sine = _waves(size, size // 2 + 1 if dim == half else size)
            self.register_buffer(f"cosine{dim}", cosine)
            self.register_buffer(f"sine{dim}", sine)
        size = shape[half - 1]
        # The half that is not stored holds the conjugates: all but the ends count twice.
        counted = torch.full((size // 2 + 1, 1), 2.0)
        counted[0] = 1.0
        if size % 2 == 0:
            counted[-1] = 1.0
        self.register_buffer("back_cosine", getattr(self, f"cosine{half}").T * counted)
        self.register_buffer("back_sine", getattr(self, f"sine{half}").T * counted)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        cosine, sine = getattr(self, f"cosine{self.half}"), getattr(self, f"sine{self.half}")
        real, imaginary = _along(x, cosine, self.half), -_along(x, sine, self.half)
        for dim in self.full:
            real, imaginary = self._turn(real, imaginary, dim, 1.0)
        real, imaginary = (
            real * self.real - imaginary * self.imaginary,
            real * self.imaginary + imaginary * self.real,
        )
        for dim in self.full:
            real, imaginary = self._turn(real, imaginary, dim, -1.0)
        return _along(real, self.back_cosine, self.half) - _along(imaginary, self.back_sine, self.half)

    def _turn(
        self, real: torch.Tensor, imaginary: torch.Tensor, dim: int, sign: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The DFT along an axis (sign 1) or its inverse (sign -1) of a complex array."""
        cosine, sine = getattr(self, f"cosine{dim}"), sign * getattr(self, f"sine{dim}")
        return (
            _along(real, cosine, dim) + _along(imaginary, sine, dim),
            _along(imaginary, cosine, dim) - _along(real, sine, dim),
        )


class FixedWavelet(nn.Module):
    """A `WaveletFilter` for one size of map."""

    def __init__(self, module: WaveletFilter, height: int, width: int) -> None:
        super().__init__()
        self.dims = module.dims
        even = [size + size % 2 if dim in module.dims else size for dim, size in ((2, height), (3, width))]
        with torch.no_grad():
            self.register_buffer("weight", module.weight_for(*even).detach().clone())
        self.shape = (height, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels = x.shape[1]
        for dim in self.dims:
            if x.shape[dim] % 2:
                x = torch.cat([x, x.narrow(dim, x.shape[dim] - 1, 1)], dim)
        for dim in self.dims:
            x = haar(x, dim)
        x = x * self.weight
        for dim in self.dims:
            x = inverse_haar(x, dim)
        return x[:, :channels, : self.shape[0], : self.shape[1]]


class _Coarse(nn.Module):
    def __init__(self, model: InteractiveModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor, prompt: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, feature = self.model.coarse(image, prompt)
        return logits, feature


class _Refine(nn.Module):
    def __init__(self, model: InteractiveModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        image: torch.Tensor,
        disks: torch.Tensor,
        feature: torch.Tensor,
        logits: torch.Tensor,
        boxes: torch.Tensor,
    ) -> torch.Tensor:
        return self.model.refine(image, disks, CoarseOutput(logits, feature), boxes).logits


def _portable(model: InteractiveModel) -> InteractiveModel:
    """A copy whose filters are written for the size of map that each meets."""
    made = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    compose_heads(made.backbone)
    sizes: dict[nn.Module, tuple[int, int]] = {}

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        sizes[module] = (inputs[0].shape[2], inputs[0].shape[3])

    filters = [module for module in made.modules() if isinstance(module, (SpectralFilter, WaveletFilter))]
    handles = [module.register_forward_pre_hook(note) for module in filters]
    side = made.config.input_size
    with torch.no_grad():
        made.coarse(torch.zeros(1, 3, side, side), torch.zeros(1, PROMPT_CHANNELS, side, side))
    for handle in handles:
        handle.remove()
    for owner in list(made.modules()):
        for name, child in list(owner.named_children()):
            if isinstance(child, SpectralFilter):
                setattr(owner, name, MatrixFilter(child, *sizes[child]))
            elif isinstance(child, WaveletFilter):
                setattr(owner, name, FixedWavelet(child, *sizes[child]))
    return made


def _write(
    path: Path,
    module: nn.Module,
    arguments: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    about: Mapping[str, object],
) -> None:
    batch = torch.export.Dim("batch")
    with atomic_write(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            module.eval(),
            tuple(arguments.values()),
            temporary,
            input_names=list(arguments),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamic_shapes=tuple({0: batch} for _ in arguments),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        written = onnx.load(temporary)
        onnx.helper.set_model_props(written, {"activefreq": json.dumps(about)})
        onnx.checker.check_model(written)
        onnx.save(written, temporary)


def _waves(size: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(size, count) cosines and sines of the first `count` frequencies of an orthonormal DFT."""
    turns = torch.outer(torch.arange(size), torch.arange(count)) % size
    angles = turns.double() * (2 * math.pi / size)
    return tuple((wave(angles) / math.sqrt(size)).float() for wave in (torch.cos, torch.sin))


def _along(x: torch.Tensor, matrix: torch.Tensor, dim: int) -> torch.Tensor:
    """Multiplies (B, C, H, W) along an axis by a matrix (n, m)."""
    if dim == 3:
        return x @ matrix
    if dim == 2:
        return matrix.T @ x
    return (x.transpose(1, 3) @ matrix).transpose(1, 3)
