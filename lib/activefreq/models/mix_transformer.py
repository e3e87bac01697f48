"""Mix Transformer: the hierarchical encoder of SegFormer.

Source: Xie et al., "SegFormer", NeurIPS 2021; the paper's section 3.2.1 and Table 1 for its stage widths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from activefreq.models.prompts import prompt_stem
from activefreq.models.residual import add_layer


@dataclass(frozen=True)
class MixTransformerConfig:
    """Widths of the four stages. Each stage halves the resolution again, from 1/4 on."""

    dims: tuple[int, int, int, int] = (32, 64, 128, 256)
    heads: tuple[int, int, int, int] = (1, 2, 4, 8)
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    reductions: tuple[int, int, int, int] = (8, 4, 2, 1)
    mlp_ratio: int = 4


PAPER = MixTransformerConfig()
"""Table 1 of the paper."""

MIT_B0 = MixTransformerConfig(dims=(32, 64, 160, 256), heads=(1, 2, 5, 8))
"""The published MiT-B0: the only one that fits its ImageNet weights."""


class PatchEmbedding(nn.Module):
    """Overlapping patches: a strided convolution and a layer norm; (B, C, H, W) to (B, N, D) and the new (h, w)."""

    def __init__(self, in_channels: int, dim: int, *, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, kernel_size, stride=stride, padding=kernel_size // 2)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: torch.Tensor, added: torch.Tensor | None = None) -> tuple[torch.Tensor, tuple[int, int]]:
        x = self.proj(x) if added is None else add_layer(added, self.proj, x)
        size = (x.shape[2], x.shape[3])
        return self.norm(x.flatten(2).transpose(1, 2)), size


class EfficientAttention(nn.Module):
    """residual + self-attention whose keys and values are taken from a map reduced by a strided convolution."""

    def __init__(self, dim: int, *, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.sr = nn.Conv2d(dim, dim, reduction, stride=reduction) if reduction > 1 else None
        self.norm = nn.LayerNorm(dim) if reduction > 1 else None

    def forward(self, x: torch.Tensor, size: tuple[int, int], residual: torch.Tensor) -> torch.Tensor:
        batch, length, dim = x.shape
        context = x
        if self.sr is not None and self.norm is not None:
            # A map smaller than the reduction's kernel cannot be reduced any further than to one token.
            image = _to_map(x, size)
            kernel = self.sr.kernel_size
            short = (max(int(kernel[0]) - size[0], 0), max(int(kernel[1]) - size[1], 0))
            if any(short):
                image = functional.pad(image, (0, short[1], 0, short[0]))
            context = self.norm(self.sr(image).flatten(2).transpose(1, 2))
        q = self.q(x).view(batch, length, self.heads, -1).transpose(1, 2)
        k, v = self.kv(context).view(batch, -1, 2, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v)
        return add_layer(residual, self.proj, attended.transpose(1, 2).reshape(batch, length, dim))


class MixFeedForward(nn.Module):
    """residual + a two-layer perceptron with a depth-wise 3x3 convolution inside, which stands in for positions."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.activation = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: torch.Tensor, size: tuple[int, int], residual: torch.Tensor) -> torch.Tensor:
        image = self.activation(self.dwconv(_to_map(self.fc1(x), size)))
        return add_layer(residual, self.fc2, image.flatten(2).transpose(1, 2))


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, dim: int, *, heads: int, reduction: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = EfficientAttention(dim, heads=heads, reduction=reduction)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MixFeedForward(dim, dim * mlp_ratio)

    def forward(self, x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        x = self.attn(self.norm1(x), size, residual=x)
        return self.mlp(self.norm2(x), size, residual=x)


class Stage(nn.Module):
    """Patch embedding, transformer blocks, layer norm; maps in, maps out."""

    def __init__(self, in_channels: int, config: MixTransformerConfig, index: int) -> None:
        super().__init__()
        dim = config.dims[index]
        kernel_size, stride = (7, 4) if index == 0 else (3, 2)
        self.embed = PatchEmbedding(in_channels, dim, kernel_size=kernel_size, stride=stride)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                dim,
                heads=config.heads[index],
                reduction=config.reductions[index],
                mlp_ratio=config.mlp_ratio,
            )
            for _ in range(config.depths[index])
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        tokens, size = self.embed(x, added)
        for block in self.blocks:
            tokens = block(tokens, size)
        return _to_map(self.norm(tokens), size)


class MixTransformer(nn.Module):
    """Four stages at 1/4, 1/8, 1/16 and 1/32 of the input.

    Args of forward:
        image: (B, 3, H, W), ImageNet-normalized.
        prompt: (B, 3, H, W), see `prompts.PROMPT_CHANNELS`.

    Returns of forward:
        Four maps (B, dims[s], h_s, w_s), each h and w the previous one's half rounded up.
    """

    def __init__(self, config: MixTransformerConfig = PAPER) -> None:
        super().__init__()
        self.channels = config.dims
        self.prompt = prompt_stem(config.dims[0], kernel_size=7, stride=4)
        ins = (3, *config.dims[:-1])
        self.stages = nn.ModuleList(Stage(ins[index], config, index) for index in range(4))
        self.apply(_initialize)
        nn.init.zeros_(self.prompt.weight)

    def forward(self, image: torch.Tensor, prompt: torch.Tensor) -> list[torch.Tensor]:
        features = []
        x = image
        added: torch.Tensor | None = self.prompt(prompt)
        for stage in self.stages:
            x = stage(x, added)
            added = None
            features.append(x)
        return features


def _to_map(tokens: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(B, h * w, C) to (B, C, h, w), channels last: a view whose layout PyTorch recognizes for a batch of one too."""
    return tokens.unflatten(1, size).permute(0, 3, 1, 2)


def _initialize(module: nn.Module) -> None:
    """SegFormer's initialisation: truncated normal linear layers, convolutions by their fan-out."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
