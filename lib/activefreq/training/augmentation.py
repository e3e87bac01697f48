"""Random views of a training image: which window is seen, turned, mirrored and lit how.

A view is an image of its own, with pixels of its own: sessions are played on it (`rehearsal`), which crop from it what
the network sees.

Source: the paper's section 4.1 (resizing by 0.75 to 1.25, flips, rotation, brightness, crops). A window is
centred anywhere around its object, not run to one edge, and no object is dropped for being small. Not of the paper, and
off unless asked for: smooth displacements, gamma and shading, as data sets of few patients want them (Isensee et al.,
nnU-Net, 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from activefreq.data.resizing import resize_image, resize_mask
from activefreq.errors import InputError
from activefreq.session.boxes import Box, bounding_box


@dataclass(frozen=True)
class AugmentationConfig:
    """Ranges of the random views.

    Attributes:
        whole_share: Share of views of the whole image, as at the first click; the others are windows around the object,
            as a session's later target crops are.
        scale: Size of the whole view's window relative to the image.
        window: Size of the other windows relative to the object's box.
        window_minimum: Least side of these windows in pixels.
        enlarged_share: Share of the views with fewer pixels than the network's input that are enlarged to it, as people
            resample small images; the others keep the pixels that they have.
        resized_share: Share of the enlarged views of images smaller than the network's input that are enlarged pixel by
            pixel, image and label, as in data sets that were brought to one size: an object's border has steps there.
        detail: Most pixels along a side of a view, as a multiple of the network's input.
        rotation: Largest angle in degrees, either way.
        flip: Mirror left-right and up-down, half the time each, and turn by multiples of 90 degrees.
        warp: Largest standard deviation of a smooth displacement of the pixels, as a share of the window: shapes that
            nobody has labelled yet. Views enlarged pixel by pixel keep theirs.
        brightness, contrast, saturation: Largest relative change.
        gamma: Largest logarithm, either way, of an exponent of the grey values: dark tissue against bright.
        shading: Largest standard deviation of the logarithm of a smooth change of the light, as coils of MR scanners
            make it.
    """

    whole_share: float = 0.5
    scale: tuple[float, float] = (0.75, 1.25)
    window: tuple[float, float] = (1.15, 2.2)
    window_minimum: float = 48.0
    enlarged_share: float = 0.5
    resized_share: float = 0.0
    detail: float = 2.0
    rotation: float = 30.0
    flip: bool = True
    warp: float = 0.0
    brightness: float = 0.25
    contrast: float = 0.25
    saturation: float = 0.25
    gamma: float = 0.0
    shading: float = 0.0

    def __post_init__(self) -> None:
        for name in ("whole_share", "enlarged_share", "resized_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be from 0 to 1, not {getattr(self, name)!r}")
        for name in ("scale", "window"):
            low, high = getattr(self, name)
            if not 0 < low <= high < np.inf:
                raise InputError(f"{name} must be a range of numbers above 0, not {getattr(self, name)!r}")
        for name in ("window_minimum", "rotation", "warp", "brightness", "contrast", "saturation", "gamma", "shading"):
            if not 0 <= getattr(self, name) < np.inf:
                raise InputError(f"{name} must be a number of at least 0, not {getattr(self, name)!r}")
        if not 0 < self.detail < np.inf:
            raise InputError(f"detail must be a number above 0, not {self.detail!r}")


@dataclass(frozen=True, eq=False)
class View:
    """A training view.

    Attributes:
        image: (H, W, 3) float32 in [0, 1].
        target: (H, W) bool with at least one True.
        whole: Whether it shows about the whole image.
    """

    image: np.ndarray
    target: np.ndarray
    whole: bool


def random_view(
    rgb: np.ndarray,
    target: np.ndarray,
    size: int,
    rng: np.random.Generator,
    config: AugmentationConfig = AugmentationConfig(),
) -> View:
    """A random view in which some of the object is seen.

    Args:
        rgb: (H, W, 3) float32 in [0, 1], see `session.intensity.to_rgb`.
        target: (H, W) bool with at least one True.
        size: Side of the network's input in pixels.
    """
    whole = bool(rng.random() < config.whole_share)
    enlarged = bool(rng.random() < config.enlarged_share)
    if enlarged and config.resized_share and max(target.shape) < size and rng.random() < config.resized_share:
        view = _resized_view(rgb, target, size, rng, config, whole=whole)
        if view.target.any():
            return view
    pixels = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
    mask = torch.from_numpy(target.astype(np.float32))[None]
    for _ in range(4):
        centre, window, turn = _window(target, rng, config, whole=whole)
        shape = _pixels_across(window, size, config, enlarged=enlarged)
        grid = _affine(centre, window, turn, target.shape, shape)
        if config.warp:
            grid = _warped(grid, window, target.shape, rng, config.warp)
        seen = _sample(mask, grid)[0].numpy() > 0.5
        if seen.any():
            return View(_to_array(_relight(_sample(pixels, grid), rng, config)), seen, whole)
    box = _object_box(target)
    # A very small object can fall between the samples of a wide view: look closely. One that is thin, or scattered,
    # fills no sample by half even so: it is then where there is most of it.
    window = np.array([max(box.height, box.width) * 2.0] * 2)
    centre = np.array([(box.top + box.bottom) / 2, (box.left + box.right) / 2])
    grid = _affine(centre, window, np.eye(2), target.shape, (size, size))
    share = _sample(mask, grid)[0].numpy()
    return View(_to_array(_sample(pixels, grid)), share > min(0.5, float(share.max()) / 2), whole=False)


def _object_box(target: np.ndarray) -> Box:
    box = bounding_box(target)
    if box is None:
        raise ValueError("the target is empty")
    return box


def _resized_view(
    rgb: np.ndarray, target: np.ndarray, size: int, rng: np.random.Generator, config: AugmentationConfig, *, whole: bool
) -> View:
    """A window of whole pixels, turned by quarters only, each pixel of which becomes many.

    What shows the whole image becomes a square, as `data.resized` makes it; what shows a part keeps its proportions.
    A window that is smaller than its object may show nothing of it.
    """
    window = np.minimum(np.rint(_sides(target, rng, config, whole=whole)).astype(int), target.shape)
    box = _object_box(target)
    first = np.array([box.top, box.left]) - np.maximum(window - [box.height, box.width], 0)
    last = np.array([box.bottom, box.right]) - np.minimum(window, [box.height, box.width])
    top, left = (int(side) for side in np.clip(rng.integers(first, last + 1), 0, target.shape - window))
    seen = (slice(top, top + window[0]), slice(left, left + window[1]))
    image, mask = rgb[seen], target[seen]
    if config.flip:
        quarters, mirrored = int(rng.integers(4)), bool(rng.integers(2))
        image, mask = (np.rot90(part[:, ::-1] if mirrored else part, quarters) for part in (image, mask))
    side = size * rng.uniform(1.0, max(config.detail, 1.0))
    sides = (side, side) if whole else (side * extent / max(mask.shape) for extent in mask.shape)
    rows, columns = (max(round(extent), 1) for extent in sides)
    pixels = torch.from_numpy(np.ascontiguousarray(resize_image(image, (rows, columns)).transpose(2, 0, 1)))
    return View(_to_array(_relight(pixels, rng, config)), resize_mask(mask, (rows, columns)), whole)


def _to_array(pixels: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


def _pixels_across(window: np.ndarray, size: int, config: AugmentationConfig, *, enlarged: bool) -> tuple[int, int]:
    """Rows and columns of a view of a window (h, w) in pixels of the image."""
    longest = float(window.max())
    scale = min(1.0, config.detail * size / longest)
    if enlarged and longest < size:
        scale = size / longest
    rows, columns = (max(round(float(side) * scale), 1) for side in window)
    return rows, columns


def _window(
    target: np.ndarray, rng: np.random.Generator, config: AugmentationConfig, *, whole: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A random window: centre (y, x), sides (h, w), both in pixels of the image, and turn (2, 2)."""
    window = _sides(target, rng, config, whole=whole)
    if whole:
        shape = np.array(target.shape, float)
        centre = shape / 2 + rng.uniform(-0.5, 0.5, 2) * np.abs(shape - window)
    else:
        box = _object_box(target)
        room = np.maximum(window - [box.height, box.width], 0.0)
        centre = np.array([(box.top + box.bottom) / 2, (box.left + box.right) / 2])
        centre = centre + rng.uniform(-0.4, 0.4, 2) * room
    angle = np.deg2rad(rng.uniform(-config.rotation, config.rotation))
    if config.flip:
        angle += np.pi / 2 * rng.integers(4)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if config.flip:
        turn = turn @ np.diag(rng.choice([-1.0, 1.0], 2))
    return centre, window, turn


def _sides(target: np.ndarray, rng: np.random.Generator, config: AugmentationConfig, *, whole: bool) -> np.ndarray:
    """The sides (h, w) of a random window, in pixels of the image."""
    if whole:
        return np.array(target.shape) * rng.uniform(*config.scale)
    box = _object_box(target)
    return np.maximum(np.array([box.height, box.width]) * rng.uniform(*config.window, 2), config.window_minimum)


def _affine(
    centre: np.ndarray, window: np.ndarray, turn: np.ndarray, shape: tuple[int, ...], across: tuple[int, int]
) -> torch.Tensor:
    """The sampling grid (1, *across, 2) of a window (h, w) in pixels about `centre` (y, x), turned about it."""
    # From the view's normalized (y, x) in [-1, 1] to the image's.
    half = np.array([shape[0] / 2, shape[1] / 2])
    matrix = (turn @ np.diag(window / 2)) / half[:, None]
    offset = centre / half - 1.0
    # affine_grid wants rows and columns in the order (x, y).
    theta = np.array([[matrix[1, 1], matrix[1, 0], offset[1]], [matrix[0, 1], matrix[0, 0], offset[0]]], np.float32)
    return functional.affine_grid(torch.from_numpy(theta)[None], [1, 1, *across], align_corners=False)


def _warped(
    grid: torch.Tensor, window: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator, warp: float
) -> torch.Tensor:
    """The sampling grid (1, h, w, 2), its points moved smoothly by up to some `warp` of the window (h, w)."""
    reach = float(rng.uniform(0.0, warp)) * float(window.max())
    moves = _smooth_noise(2, grid.shape[1:3], rng) * reach
    # In the grid's units, 2 for the whole side of the image, and its order (x, y).
    return grid + moves.permute(1, 2, 0) * torch.tensor([2.0 / shape[1], 2.0 / shape[0]])


def _smooth_noise(channels: int, across: Sequence[int], rng: np.random.Generator) -> torch.Tensor:
    """(channels, h, w) float32: normal numbers at 4 x 4 places, and what lies smoothly between them."""
    places = torch.from_numpy(rng.standard_normal((1, channels, 4, 4)).astype(np.float32))
    return functional.interpolate(places, tuple(across), mode="bicubic", align_corners=True)[0]


def _sample(pixels: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """(C, H, W) read at the grid (1, h, w, 2): (C, h, w); averaged first where the grid is coarser than the pixels."""
    # A view may be a single pixel high or wide.
    step = torch.zeros(2)
    if grid.shape[1] > 1:
        step = step + (grid[0, 1, 0] - grid[0, 0, 0]).abs()
    if grid.shape[2] > 1:
        step = step + (grid[0, 0, 1] - grid[0, 0, 0]).abs()
    height, width = pixels.shape[1:]
    # Pixels of the image per pixel of the view, in x and y.
    stride = max(float(step[0]) * width / 2, float(step[1]) * height / 2)
    if stride > 1.5:
        smaller = (max(round(height / stride), 1), max(round(width / stride), 1))
        pixels = functional.interpolate(pixels[None], smaller, mode="bilinear", align_corners=False, antialias=True)[0]
    return functional.grid_sample(pixels[None], grid, mode="bilinear", align_corners=False)[0]


def _relight(image: torch.Tensor, rng: np.random.Generator, config: AugmentationConfig) -> torch.Tensor:
    brightness, contrast, saturation = (
        float(rng.uniform(1 - reach, 1 + reach)) for reach in (config.brightness, config.contrast, config.saturation)
    )
    gray = image.mean(dim=0, keepdim=True)
    image = gray + (image - gray) * saturation
    image = image.mean() + (image - image.mean()) * contrast
    image = (image * brightness).clamp(0.0, 1.0)
    if config.gamma:
        image = image ** float(np.exp(rng.uniform(-config.gamma, config.gamma)))
    if config.shading:
        light = _smooth_noise(1, image.shape[1:], rng) * float(rng.uniform(0.0, config.shading))
        image = (image * light.exp()).clamp(0.0, 1.0)
    return image
