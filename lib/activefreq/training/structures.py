"""Targets of no kind: whatever else there is in an image to click on.

A network that is trained on a few kinds of object forgets the others: it looks for what it knows, and not for what was
clicked on. So a share of the views has another target than the expert's mask: a region that an unsupervised
segmentation finds in the image, a blob that is painted into it, or the wall around the expert's object. What they are
worth as masks does not matter; that the click alone says which one is meant does.

Source: pseudo-labels of unsupervised regions, as nnInteractive has them (Isensee et al., arXiv 2503.08373,
"SuperVoxels"); here of the graph-based segmentation of Felzenszwalb and Huttenlocher (IJCV 2004).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.segmentation import felzenszwalb

from activefreq.data.borders import equivalent_radius, wall
from activefreq.errors import InputError


@dataclass(frozen=True)
class StructureConfig:
    """How often a view shows another structure than the expert's, and which.

    Attributes:
        share: Share of the views, in [0, 1]; 0 for the experts' objects alone.
        painted: Share of these that are painted.
        walls: Share of these that are a band around the expert's object; all others are found.
        area: Range of a painted or found structure's area as a share of the image's.
        wall: Range of a wall's thickness as a share of its object's equivalent radius sqrt(area / pi).
    """

    share: float = 0.0
    painted: float = 0.4
    walls: float = 0.0
    area: tuple[float, float] = (0.003, 0.25)
    wall: tuple[float, float] = (0.15, 0.6)

    def __post_init__(self) -> None:
        for name in ("share", "painted", "walls"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be from 0 to 1, not {getattr(self, name)!r}")
        if not 0 < self.area[0] < self.area[1] < 1:
            raise InputError(f"area must be a range of shares above 0 and below 1, not {self.area!r}")
        if self.painted + self.walls > 1:
            raise InputError(f"painted ({self.painted}) and walls ({self.walls}) must not exceed 1 together")
        if not 0 < self.wall[0] <= self.wall[1] < np.inf:
            raise InputError(f"wall must be a range of numbers above 0, not {self.wall!r}")


def another_structure(
    rgb: np.ndarray, target: np.ndarray, rng: np.random.Generator, config: StructureConfig
) -> tuple[np.ndarray, np.ndarray]:
    """The image and its target, or at times something else that is in it or painted into it.

    Args:
        rgb: (H, W, 3) float32 in [0, 1].
        target: (H, W) bool with at least one True.

    Returns:
        An image and a target of the same shapes, the target with at least one True.
    """
    if rng.random() >= config.share:
        return rgb, target
    kind = rng.random()
    if kind < config.painted:
        return painted_blob(rgb, rng, config)
    if kind < config.painted + config.walls:
        thickness = max(float(rng.uniform(*config.wall)) * equivalent_radius(target), 2.0)
        other: np.ndarray | None = wall(target, thickness)
    else:
        other = found_region(rgb, rng, config)
    return (rgb, other) if other is not None and other.any() else (rgb, target)


def found_region(rgb: np.ndarray, rng: np.random.Generator, config: StructureConfig) -> np.ndarray | None:
    """A region that looks alike, its border smoothed, its holes filled: (H, W) bool, or None where there is none."""
    segments = felzenszwalb(
        rgb, scale=float(rng.uniform(30.0, 400.0)), sigma=float(rng.uniform(0.6, 1.6)), min_size=20, channel_axis=-1
    )
    areas = np.bincount(segments.ravel())
    low, high = (share * segments.size for share in config.area)
    candidates = np.flatnonzero((areas >= low) & (areas <= high))
    for index in rng.permutation(candidates):
        region = ndimage.binary_fill_holes(ndimage.median_filter(segments == index, size=5))
        if region.any():
            piece = _largest_piece(region)
            if low <= np.count_nonzero(piece) <= high:
                return piece
    return None


def painted_blob(rgb: np.ndarray, rng: np.random.Generator, config: StructureConfig) -> tuple[np.ndarray, np.ndarray]:
    """The image with a blob in it that is lighter, darker or of another colour, and the blob."""
    height, width = rgb.shape[:2]
    radius = np.sqrt(np.exp(rng.uniform(*np.log(config.area))) * height * width / np.pi)
    stretch = np.exp(rng.uniform(-0.4, 0.4))
    centre = rng.uniform(0.1, 0.9, 2) * (height, width)
    angle = rng.uniform(0.0, np.pi)
    y, x = np.mgrid[:height, :width] - centre[:, None, None]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    waves = ndimage.gaussian_filter(rng.standard_normal((height, width)), max(radius / 3, 1.0))
    inside = 1.0 - np.hypot(along / (radius * stretch), across * stretch / radius)
    inside += rng.uniform(0.0, 0.25) * waves / max(waves.std(), 1e-6)
    solid = inside > 0
    blob = _largest_piece(solid if solid.any() else inside == inside.max())

    level = rgb[blob].mean(axis=0)
    # Away from black and white, where nothing would be seen of it.
    lighter = rng.random() < np.clip(1.5 - 2.0 * level.mean(), 0.0, 1.0)
    gray = bool((rgb[..., :1] == rgb).all())
    change = (1.0 if lighter else -1.0) * rng.uniform(0.08, 0.35) * (1.0 if gray else rng.uniform(0.3, 1.0, 3))
    # A share of the image's own texture stays: a lesion is seen through, a cyst is not.
    kept = rng.uniform(0.2, 1.0)
    inner = np.clip(level + kept * (rgb - level) + change, 0.0, 1.0)
    soft = ndimage.gaussian_filter(blob.astype(np.float64), rng.uniform(0.4, 1.5))[..., None]
    return np.clip(rgb * (1.0 - soft) + inner * soft, 0.0, 1.0).astype(np.float32), blob


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    """The largest of the connected pieces (4-neighbours) of (H, W) bool with at least one True."""
    pieces, _ = ndimage.label(mask)
    return pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
