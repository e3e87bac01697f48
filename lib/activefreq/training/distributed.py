"""What several processes of one training have to agree on: sums, and the statistics of batch normalization.

A global batch is divided among the processes. Torch's own synchronized batch normalization runs on CUDA only; here
it is a few differentiable sums, so that processes on CPUs learn exactly what one process would.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import distributed
from torch.nn import functional
from torch.overrides import TorchFunctionMode


def rank() -> int:
    """The number of this process among those of its training; 0 of one alone."""
    return distributed.get_rank() if _joined() else 0


def world_size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _joined() else 1


def join(device: torch.device, *, shared: bool = False, **meeting: Any) -> None:
    """Joins the other processes of a training, through NCCL if each has a GPU of its own, else through gloo.

    Args:
        shared: Others compute on the same GPU, which NCCL refuses.
        meeting: Where they meet and who this one is, as `torch.distributed.init_process_group` takes it; nothing for
            those that `torchrun` started.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" and not shared else "gloo", **meeting)


def join_launched(device: torch.device) -> torch.device:
    """Joins the processes that `torchrun` started; returns the device of this one.

    The GPUs of a machine are dealt out to its processes. There may be more of these than GPUs: each plays its sessions
    on a core of its own, and a GPU that answers one has time for others. All machines must be alike in this: NCCL and
    gloo do not meet.
    """
    shared = False
    if device.type == "cuda":
        gpus = torch.cuda.device_count()
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]) % gpus)
        shared = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) > gpus
    join(device, shared=shared)
    return device


def leave() -> None:
    """Ends what `join` began, if anything."""
    if _joined():
        distributed.destroy_process_group()


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def total(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of the processes' tensors, the same in each of them; of one process alone its own tensor."""
    if world_size() == 1:
        return tensor
    summed = tensor.detach().clone()
    distributed.all_reduce(summed)
    return summed


def same_everywhere(value: float, device: torch.device) -> bool:
    """Whether all processes have the same value, which float64 holds exactly; each of them is told the same."""
    if world_size() == 1:
        return True
    ends = torch.tensor([value, -value], dtype=torch.float64, device=device)
    distributed.all_reduce(ends, distributed.ReduceOp.MAX)
    return bool(ends[0] == -ends[1])


def average(tensors: Iterable[torch.Tensor], share: float) -> None:
    """Replaces each tensor of floats by the mean of the processes' tensors, in place; others stay.

    Args:
        share: Of this process in the mean; the processes' shares sum to 1.
    """
    kinds: dict[torch.dtype, list[torch.Tensor]] = {}
    for tensor in tensors:
        if tensor.is_floating_point():
            kinds.setdefault(tensor.dtype, []).append(tensor)
    with torch.no_grad():
        for members in kinds.values():
            # In one message: there are hundreds of them.
            mean = total(torch.cat([tensor.reshape(-1) for tensor in members]) * share)
            for tensor, part in zip(members, mean.split([tensor.numel() for tensor in members]), strict=True):
                tensor.copy_(part.view(tensor.shape))


def any_of(flag: bool, device: torch.device) -> bool:
    """True in every process if it is true in one."""
    return bool(total(torch.tensor(int(flag), device=device)))


class _Total(torch.autograd.Function):
    """`total` with a gradient: what each process's result does to the loss counts for every process's input."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        return total(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return total(gradient)


class GlobalBatchStatistics(TorchFunctionMode):
    """While this context is entered, batch normalization in training mode uses the statistics of the global batch.

    It replaces `torch.nn.functional.batch_norm`, which every kind of batch normalization comes down to (torch's own
    modules, and timm's that have an activation built in), so that no module has to be exchanged.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is functional.batch_norm and world_size() > 1:
            return _batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(
    x: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    if not training:
        return functional.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    with torch.autocast(x.device.type, enabled=False):
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        others = [dim for dim in range(x.ndim) if dim != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        own = values.new_tensor([values.numel() / values.shape[1]])
        sums = _Total.apply(torch.cat([values.sum(others), own]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = values - mean.view(shape)
        # Summed in a second round: the mean of the squares less the square of the mean would lose digits.
        variance = _Total.apply(centred.square().sum(others)) / count
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_((variance * count / (count - 1)).to(running_var.dtype), momentum)
        y = centred * torch.rsqrt(variance + eps).view(shape)
        if weight is not None:
            y = y * weight.view(shape)
        if bias is not None:
            y = y + bias.view(shape)
    return y.to(x.dtype)
