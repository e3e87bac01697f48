"""Learnable filters in the Fourier and in the wavelet domain, along any axes of a feature map.

Source: the paper's section 3.2.3, equations 9 to 14; Table 7 for the wavelet; section 5 (future work) for the 3D DFT.

A filter multiplies the spectrum of (B, C, H, W) along some of the axes C, H, W by a weight per coefficient. Axes
that are not transformed are positions, and the weight differs from position to position. Weights are stored at
a base size and resampled to the spectrum at hand, so that any input size works; at the base size they are used as
they are. They start as ones: an untrained filter is the identity.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from activefreq.models.residual import add_layer

AXES = {"c": 1, "h": 2, "w": 3}
"""The dimension of (B, C, H, W) behind each letter of an axes string such as "hw"."""


def _lerp_matrix(positions: torch.Tensor, length: int, *, periodic: bool) -> torch.Tensor:
    """(N, length) weights that read a sequence of `length` values at fractional `positions` (N,)."""
    low = positions.floor()
    fraction = positions - low
    first = low.long()
    second = first + 1
    if periodic:
        first, second = first % length, second % length
    else:
        first, second = first.clamp(0, length - 1), second.clamp(0, length - 1)
    matrix = positions.new_zeros(positions.numel(), length)
    rows = torch.arange(positions.numel(), device=positions.device)
    matrix.index_put_((rows, first), 1.0 - fraction, accumulate=True)
    matrix.index_put_((rows, second), fraction, accumulate=True)
    return matrix


def resample_matrix(size: int, base: int, kind: str, *, device: torch.device | None = None) -> torch.Tensor:
    """How a weight stored along an axis of `base` samples is read for an axis of `size` samples.

    Args:
        kind: "position" (linear, ends aligned), "full" (all frequencies of a DFT: read at the same frequency in
            cycles per sample, periodic) or "half" (the non-negative ones of a real DFT).

    Returns:
        float32 (n, m): n and m are `size` and `base`, or for "half" size // 2 + 1 and base // 2 + 1.
    """
    if kind == "position":
        if size == base:
            return torch.eye(size, device=device)
        positions = torch.linspace(0, base - 1, size, device=device)
        return _lerp_matrix(positions, base, periodic=False)
    count, stored = (size, base) if kind == "full" else (size // 2 + 1, base // 2 + 1)
    if size == base:
        return torch.eye(count, device=device)
    frequencies = torch.arange(count, device=device, dtype=torch.float32) / size
    if kind == "full":
        # The upper half of a DFT holds the negative frequencies.
        frequencies = torch.where(frequencies >= 0.5, frequencies - 1.0, frequencies)
    return _lerp_matrix(frequencies * base, stored, periodic=kind == "full")


def _apply(matrix: torch.Tensor, weight: torch.Tensor, dim: int) -> torch.Tensor:
    """Reads a weight along an axis by a matrix (n, m) that has at most two numbers in a row."""
    if torch.is_grad_enabled():
        return torch.movedim(torch.tensordot(matrix, weight, dims=([1], [dim])), 0, dim)
    # A product of matrices rounds differently with the number of threads, and answers must not.
    shares, places = matrix.topk(min(2, matrix.shape[1]), dim=1)
    shape = [-1 if index == dim else 1 for index in range(weight.dim())]
    parts = [
        weight.index_select(dim, place) * share.view(shape) for share, place in zip(shares.T, places.T, strict=True)
    ]
    return parts[0] + parts[1] if len(parts) == 2 else parts[0]


class _Resampled(nn.Module):
    """A filter's weight at the size at hand, kept while no gradient is wanted and the size stays."""

    weight: nn.Parameter

    def __init__(self) -> None:
        super().__init__()
        self._cache: tuple[tuple[object, ...], torch.Tensor] | None = None

    def weight_for(self, height: int, width: int) -> torch.Tensor:
        """The weight for maps of (height, width): (C', H', W') complex for a DFT, (C, H, W) real for a wavelet."""
        # A weight made in inference mode has no version, and nothing changes it in place unseen by its owner.
        version = None if self.weight.is_inference() else self.weight._version
        key = (height, width, self.weight.device, version, self.weight.data_ptr())
        if not torch.is_grad_enabled() and self._cache is not None and self._cache[0] == key:
            return self._cache[1]
        resampled = self._resample(height, width)
        if not torch.is_grad_enabled():
            self._cache = (key, resampled)
        return resampled

    def _resample(self, height: int, width: int) -> torch.Tensor:
        raise NotImplementedError


class SpectralFilter(_Resampled):
    """DFT along `axes`, product with a learnable complex weight, inverse DFT (equations 9 to 14).

    Args:
        axes: Letters out of "chw": "hw", "hc" and "wc" are the paper's three transforms, "chw" is the 3D DFT.
        base: (C, H, W) at which the weight is stored. C is fixed; H and W of an input may differ.
    """

    def __init__(self, axes: str, base: tuple[int, int, int]) -> None:
        super().__init__()
        if not axes or any(axis not in AXES for axis in axes) or len(set(axes)) != len(axes):
            raise ValueError(f"axes must be different letters of 'chw', not {axes!r}")
        self.axes = axes
        self.base = base
        self.dims = tuple(AXES[axis] for axis in axes)
        shape = [base[0], base[1], base[2]]
        shape[self.dims[-1] - 1] = shape[self.dims[-1] - 1] // 2 + 1
        weight = torch.zeros(*shape, 2)
        weight[..., 0] = 1.0
        self.weight = nn.Parameter(weight)
        """(C', H', W', 2): real and imaginary parts; the last transformed axis holds half the spectrum."""

    def _kind(self, dim: int) -> str:
        if dim == self.dims[-1]:
            return "half"
        return "full" if dim in self.dims else "position"

    def _resample(self, height: int, width: int) -> torch.Tensor:
        weight = self.weight.float()
        for dim, size, base in ((2, height, self.base[1]), (3, width, self.base[2])):
            if size != base:
                matrix = resample_matrix(size, base, self._kind(dim), device=weight.device)
                weight = _apply(matrix, weight, dim - 1)
        return torch.view_as_complex(weight.contiguous())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same shape and dtype; computed in float32 also inside autocast."""
        with torch.autocast(device_type=x.device.type, enabled=False):
            real = x.float()
            spectrum = torch.fft.rfftn(real, dim=self.dims, norm="ortho")
            spectrum = spectrum * self.weight_for(x.shape[2], x.shape[3])
            sizes = [x.shape[dim] for dim in self.dims]
            filtered = torch.fft.irfftn(spectrum, s=sizes, dim=self.dims, norm="ortho")
        return filtered.to(x.dtype)


def haar(x: torch.Tensor, dim: int) -> torch.Tensor:
    """One level of the orthonormal Haar transform along `dim` (of even length): sums first, then differences."""
    even, odd = x.unflatten(dim, (-1, 2)).unbind(dim + 1)
    return torch.cat([even + odd, even - odd], dim) * 0.5**0.5


def inverse_haar(x: torch.Tensor, dim: int) -> torch.Tensor:
    """The inverse of `haar`."""
    low, high = x.chunk(2, dim)
    return torch.stack([low + high, low - high], dim + 1).flatten(dim, dim + 1) * 0.5**0.5


class WaveletFilter(_Resampled):
    """One level of the Haar transform along `axes`, a learnable weight, inverse transform (Table 7).

    The arguments are those of `SpectralFilter`. Odd axes are extended by their last sample for the transform.
    """

    def __init__(self, axes: str, base: tuple[int, int, int]) -> None:
        super().__init__()
        if not axes or any(axis not in AXES for axis in axes) or len(set(axes)) != len(axes):
            raise ValueError(f"axes must be different letters of 'chw', not {axes!r}")
        self.dims = tuple(AXES[axis] for axis in axes)
        even = [size + size % 2 if index + 1 in self.dims else size for index, size in enumerate(base)]
        self.base = (even[0], even[1], even[2])
        self.weight = nn.Parameter(torch.ones(even))

    def _resample(self, height: int, width: int) -> torch.Tensor:
        # Each sub-band is resampled by itself.
        weight = self.weight.float()
        for dim, size, base in ((2, height, self.base[1]), (3, width, self.base[2])):
            if size != base:
                bands = 2 if dim in self.dims else 1
                matrix = resample_matrix(size // bands, base // bands, "position", device=weight.device)
                matrix = torch.block_diag(*[matrix] * bands)
                weight = _apply(matrix, weight, dim - 1)
        return weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same shape and dtype; computed in float32 also inside autocast."""
        with torch.autocast(device_type=x.device.type, enabled=False):
            real = x.float()
            for dim in self.dims:
                if x.shape[dim] % 2:
                    real = torch.cat([real, real.narrow(dim, x.shape[dim] - 1, 1)], dim)
            for dim in self.dims:
                real = haar(real, dim)
            real = real * self.weight_for(real.shape[2], real.shape[3])
            for dim in self.dims:
                real = inverse_haar(real, dim)
        return real[:, : x.shape[1], : x.shape[2], : x.shape[3]].to(x.dtype)


class DepthwiseSeparable(nn.Sequential):
    """A depth-wise 3x3 and a point-wise 1x1 convolution (equation 8)."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1),
        )


FILTERS = {"fourier": SpectralFilter, "haar": WaveletFilter}


class FreqModule(nn.Module):
    """Four quarters of the channels: one filtered in space, three in the frequency domain (Fig. 4).

    Args:
        channels: C, a multiple of 4.
        base: (H, W) at which the spectral weights are stored.
        transform: "fourier" or "haar".
        axes: The transform of quarters two to four; None switches one off, and that quarter passes unchanged.
    """

    def __init__(
        self,
        channels: int,
        base: tuple[int, int],
        *,
        transform: str = "fourier",
        axes: Sequence[str | None] = ("hw", "hc", "wc"),
    ) -> None:
        super().__init__()
        if channels % 4:
            raise ValueError(f"the channels are split into quarters: {channels} is not a multiple of 4")
        if len(axes) != 3:
            raise ValueError(f"three quarters are transformed, but {len(axes)} axes are given")
        if transform not in FILTERS:
            raise ValueError(f"transform must be one of {sorted(FILTERS)}, not {transform!r}")
        quarter = channels // 4
        self.spatial = DepthwiseSeparable(quarter)
        self.filters = nn.ModuleList(
            nn.Identity() if name is None else FILTERS[transform](name, (quarter, *base)) for name in axes
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, *others = x.chunk(4, dim=1)
        quarters = [self.spatial(first), *(module(part) for module, part in zip(self.filters, others, strict=True))]
        if x.is_contiguous(memory_format=torch.channels_last):
            # Each transform leaves a layout of its own; mixed, they would slow down whatever reads them next.
            quarters = [quarter.contiguous(memory_format=torch.channels_last) for quarter in quarters]
        return torch.cat(quarters, dim=1)


class FreqBlock(nn.Module):
    """x + FreqModule(GN(x)), then x + FFN(GN(x)) (Fig. 3 e)."""

    def __init__(self, channels: int, module: FreqModule, *, ratio: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(_groups(channels), channels)
        self.freq = module
        self.norm2 = nn.GroupNorm(_groups(channels), channels)
        self.fc1 = nn.Conv2d(channels, channels * ratio, 1)
        self.activation = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(channels * ratio, channels, 1)
        self.strip = 0
        """Pixels of which the feed-forward network computes its wide map at a time; 0 computes it whole."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.freq(self.norm1(x))
        normed = self.norm2(x)
        rows = max(self.strip // x.shape[3], 1)
        if not self.strip or rows >= x.shape[2]:
            return self._feed_forward(x, normed)
        # Pixel by pixel, so strips change nothing.
        answer = torch.empty_like(x)
        for top in range(0, x.shape[2], rows):
            strip = (slice(None), slice(None), slice(top, top + rows))
            answer[strip] = self._feed_forward(x[strip], normed[strip])
        return answer

    def _feed_forward(self, x: torch.Tensor, normed: torch.Tensor) -> torch.Tensor:
        return add_layer(x, self.fc2, self.activation(self.fc1(normed)))


def _groups(channels: int) -> int:
    return next(groups for groups in (8, 4, 2, 1) if channels % groups == 0)
