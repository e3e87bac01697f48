"""A network made ready to answer: faster, and with the same bits whatever the number of threads.

PyTorch chooses the kernel of a convolution by the number of threads and the batch, and sums a group norm thread by
thread: the same network then answers one click with probabilities that differ by some 1e-6 between a server with two
threads and a worker with one. A mask that is thresholded, and fed back into the next click, does not forgive that.
Here every convolution and linear layer goes to oneDNN, whose sums do not depend on how the work is divided. Batch
norms and activations are folded into the convolutions before them, which saves passes over the maps.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from timm.layers import Conv2dSame
from timm.layers.padding import pad_same
from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual
from timm.models.hrnet import HighResolutionNet
from timm.models.resnet import BasicBlock, Bottleneck
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

from activefreq.models.composition import ComposedRefiner, compose_heads
from activefreq.models.interactive import InteractiveModel
from activefreq.models.mix_transformer import MixFeedForward
from activefreq.models.spectral import FreqBlock

CHAINS: dict[type[nn.Module], tuple[tuple[str, ...], ...]] = {
    DepthwiseSeparableConv: (("conv_dw", "bn1"), ("conv_pw", "bn2")),
    InvertedResidual: (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")),
    BasicBlock: (("conv1", "bn1", "drop_block", "act1"), ("conv2", "bn2")),
    Bottleneck: (("conv1", "bn1", "act1"), ("conv2", "bn2", "drop_block", "act2"), ("conv3", "bn3")),
    HighResolutionNet: (("conv2", "bn2", "act2"),),
    FreqBlock: (("fc1", "activation"),),
    MixFeedForward: (("dwconv", "activation"),),
}
"""Names of a convolution and of what directly follows it, in modules that are not an `nn.Sequential`."""

STRIP = 4096
"""Pixels of a strip of a Freq block's feed-forward network: its wide map then stays in a core's cache."""


def prepare_for_inference(model: InteractiveModel, device: torch.device) -> InteractiveModel:
    """A copy in evaluation mode on a device; a model that is prepared already is only moved.

    On a CPU its answers do not depend on the number of threads. They agree with the model's own to rounding. For a GPU,
    the whole process computes float32 convolutions in float32 from then on.
    """
    if device.type == "cuda":
        # cuDNN's default is TF32, with 10 bits of mantissa: probabilities were up to 0.04 away from those of a CPU.
        torch.backends.cudnn.allow_tf32 = False
    if is_prepared(model):
        return model.to(device)
    prepared = copy.deepcopy(model).eval().requires_grad_(False)
    compose_heads(prepared.backbone)
    prepared.refiner = ComposedRefiner(prepared.refiner)
    for owner in list(prepared.modules()):
        for chain in _chains(owner):
            _fold(owner, chain)
        if isinstance(owner, FreqBlock) and device.type == "cpu":
            owner.strip = STRIP
    if device.type == "cpu" and torch.backends.mkldnn.is_available():
        _use_onednn(prepared)
    return prepared.to(device).to(memory_format=torch.channels_last)


def is_prepared(model: nn.Module) -> bool:
    """Whether `prepare_for_inference` made the model: its weights are folded and cannot be trained or saved."""
    return any(isinstance(module, Convolution) for module in model.modules())


class Convolution(nn.Module):
    """A convolution, and folded into it the batch norm and the activation that follow."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = conv.weight
        self.bias = conv.bias
        self.kernel_size = conv.kernel_size
        self.stride = conv.stride
        self.padding = conv.padding
        self.dilation = conv.dilation
        self.groups = conv.groups
        self.same = isinstance(conv, Conv2dSame)
        self.activation = "none"
        self.onednn = False
        self._packed = Packed()

    def absorb(self, norm: nn.BatchNorm2d) -> None:
        """Takes the batch norm that follows."""
        self.weight, self.bias = fuse_conv_bn_weights(
            self.weight, self.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )

    @property
    def adds(self) -> bool:
        """Whether forward takes a residual."""
        return self.onednn and self.activation == "none"

    def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        if self.same:
            x = pad_same(x, self.kernel_size, self.stride, self.dilation)
        if not self.onednn:
            x = functional.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
            return _ACTIVATIONS[self.activation](x)
        weight = self._packed.get(x.shape, self._pack)
        geometry = (self.padding, self.stride, self.dilation, self.groups)
        if residual is not None:
            return torch.ops.mkldnn._convolution_pointwise.binary(
                x, residual, weight, self.bias, *geometry, "add", 1.0, None, [], None
            )
        scalars, algorithm = _ARGUMENTS.get(self.activation, ([], ""))
        return torch.ops.mkldnn._convolution_pointwise(
            x, weight, self.bias, *geometry, self.activation, scalars, algorithm
        )

    def _pack(self, shape: torch.Size) -> torch.Tensor:
        return torch.ops.mkldnn._reorder_convolution_weight(
            self.weight, self.padding, self.stride, self.dilation, self.groups, list(shape)
        )


_ACTIVATIONS = {"none": lambda x: x, "relu": functional.relu, "hardtanh": functional.relu6, "gelu": functional.gelu}
_ARGUMENTS: dict[str, tuple[list[float], str]] = {"hardtanh": ([0.0, 6.0], ""), "gelu": ([], "none")}


class Packed:
    """A weight in oneDNN's own layout, which it would otherwise make anew for every answer.

    The layout depends on the input's shape. The one kept is that of the last shape, for a session has one. It is
    made when it is first needed, and left behind when the layer is copied.
    """

    def __init__(self) -> None:
        self._kept: tuple[torch.Size, torch.Tensor] | None = None

    def get(self, shape: torch.Size, make: Callable[[torch.Size], torch.Tensor]) -> torch.Tensor:
        """The weight for inputs of a shape."""
        kept = self._kept
        if kept is None or kept[0] != shape:
            kept = self._kept = (shape, make(shape))
        return kept[1]

    def __reduce__(self) -> tuple[type[Packed], tuple[()]]:
        return Packed, ()


class TransposedConvolution(nn.Module):
    """A transposed convolution as a 1x1 convolution by oneDNN and a sum of overlapping patches in a fixed order.

    oneDNN's own transposed convolution, and MKL's, depend on the number of threads.
    """

    def __init__(self, conv: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(conv.weight.flatten(1).t()[..., None, None].contiguous(), requires_grad=False)
        self.bias = conv.bias
        self.kernel_size = conv.kernel_size
        self.stride = conv.stride
        self.padding = conv.padding
        self.dilation = conv.dilation
        self.output_padding = conv.output_padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, None, [0, 0], [1, 1], [1, 1], 1, "none", [], ""
        )
        size = [
            (side - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra + 1
            for side, stride, padding, dilation, kernel, extra in zip(
                x.shape[2:],
                self.stride,
                self.padding,
                self.dilation,
                self.kernel_size,
                self.output_padding,
                strict=True,
            )
        ]
        y = functional.fold(patches.flatten(2), size, self.kernel_size, self.dilation, self.padding, self.stride)
        y = y if self.bias is None else y + self.bias.view(1, -1, 1, 1)
        return y.contiguous(memory_format=torch.channels_last)


class Linear(nn.Module):
    """A linear layer by oneDNN: MKL's products depend on the number of threads."""

    adds = True

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = linear.weight
        self.bias = linear.bias
        self._packed = Packed()

    def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        weight = self._packed.get(x.shape, self._pack)
        if residual is not None:
            return torch.ops.mkldnn._linear_pointwise.binary(x, residual, weight, self.bias, "add")
        return torch.ops.mkldnn._linear_pointwise(x, weight, self.bias, "none", [], "")

    def _pack(self, shape: torch.Size) -> torch.Tensor:
        return torch.ops.mkldnn._reorder_linear_weight(self.weight, shape[:-1].numel())


class GroupNorm(nn.Module):
    """A group norm whose sums run within channels: PyTorch's own adds up what each thread has seen."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups = norm.num_groups
        self.eps = norm.eps
        self.weight = norm.weight
        self.bias = norm.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, channels = x.shape[:2]
        grouped = (batch, self.groups, channels // self.groups)
        count = x[0].numel() // self.groups
        mean = x.sum((2, 3)).view(grouped).sum(2, keepdim=True) / count
        square = (x * x).sum((2, 3)).view(grouped).sum(2, keepdim=True) / count
        scale = torch.rsqrt((square - mean * mean).clamp_min(0) + self.eps) * self.weight.view(1, *grouped[1:])
        shift = self.bias.view(1, *grouped[1:]) - mean * scale
        return torch.addcmul(shift.view(batch, channels, 1, 1), x, scale.view(batch, channels, 1, 1))


def _chains(owner: nn.Module) -> Iterator[tuple[str, ...]]:
    """Names of children that run directly one after the other, a convolution first."""
    for kind, chains in CHAINS.items():
        if isinstance(owner, kind):
            yield from chains
    if isinstance(owner, nn.Sequential):
        names = [name for name, _ in owner.named_children()]
        yield from (tuple(names[first : first + 3]) for first in range(len(names)))


def _fold(owner: nn.Module, chain: tuple[str, ...]) -> None:
    first = getattr(owner, chain[0])
    if not _is_plain(first):
        return
    folded = Convolution(first)
    setattr(owner, chain[0], folded)
    for name in chain[1:]:
        follower = getattr(owner, name)
        activation = follower
        if isinstance(follower, nn.BatchNorm2d) and follower.track_running_stats:
            folded.absorb(follower)
            activation = getattr(follower, "act", nn.Identity())
        kind = _activation(activation)
        if kind is None:
            if activation is not follower:
                setattr(owner, name, activation)
            return
        setattr(owner, name, nn.Identity())
        if kind != "none":
            folded.activation = kind
            return


def _is_plain(module: nn.Module) -> bool:
    """Whether a module is a convolution without a twist of its own."""
    return (
        type(module) in (nn.Conv2d, Conv2dSame) and isinstance(module.padding, tuple) and module.padding_mode == "zeros"
    )


def _activation(module: nn.Module) -> str | None:
    """oneDNN's name of an activation that can be folded, or None."""
    if isinstance(module, nn.Identity):
        return "none"
    if isinstance(module, nn.ReLU6):
        return "hardtanh"
    if isinstance(module, nn.GELU) and module.approximate == "none":
        return "gelu"
    return "relu" if isinstance(module, nn.ReLU) else None


def _use_onednn(model: nn.Module) -> None:
    for owner in list(model.modules()):
        for name, child in list(owner.named_children()):
            if _is_plain(child):
                child = Convolution(child)
                setattr(owner, name, child)
            elif type(child) is nn.ConvTranspose2d and child.groups == 1:
                setattr(owner, name, TransposedConvolution(child))
            elif type(child) is nn.Linear:
                setattr(owner, name, Linear(child))
            elif type(child) is nn.GroupNorm:
                setattr(owner, name, GroupNorm(child))
            if isinstance(child, Convolution):
                child.onednn = True
