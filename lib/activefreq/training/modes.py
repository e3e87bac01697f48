"""Training and evaluation mode, module by module: what a context changed it puts back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block, after it the mode that every single module had before."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def start_training(model: nn.Module, *, frozen_statistics: bool = False) -> None:
    """Training mode; with `frozen_statistics` batch normalization keeps to its running statistics and leaves them."""
    model.train()
    if frozen_statistics:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
