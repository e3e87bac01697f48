"""Small made-up pictures and volumes with their masks, like the kinds of data that the project meets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image
from scipy import ndimage

from activefreq.files.grids import Geometry, Volume

OBLIQUE = tuple(float(value) for value in sitk.Euler3DTransform((0, 0, 0), 0.3, -0.5, 0.2).GetMatrix())


def rgb_blob(seed: int, shape: tuple[int, int] = (48, 64)) -> tuple[np.ndarray, np.ndarray]:
    """A dark lesion with a wavy border on skin: image (H, W, 3) uint8, mask (H, W) bool."""
    rng = np.random.default_rng(seed)
    height, width = shape
    rows, columns = np.mgrid[:height, :width]
    centre = rng.uniform(0.35, 0.65, 2) * shape
    angle = np.arctan2(rows - centre[0], columns - centre[1])
    radius = min(shape) * rng.uniform(0.2, 0.3) * (1 + 0.2 * np.sin(3 * angle + rng.uniform(0, 6)))
    mask = np.hypot(rows - centre[0], columns - centre[1]) < radius
    cover = ndimage.gaussian_filter(mask.astype(float), 1.0)[..., None]
    image = (1 - cover) * rng.uniform(170, 230, 3) + cover * rng.uniform(40, 110, 3)
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8), mask


def grey_ring(seed: int, shape: tuple[int, int] = (64, 64), thickness: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """A thin dark ring around a bright pool: image (H, W) uint8, mask (H, W) bool of the ring."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0.45, 0.55, 2) * shape
    radius = min(shape) * rng.uniform(0.2, 0.3)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    distance = np.hypot(rows - centre[0], columns - centre[1])
    mask = np.abs(distance - radius) < thickness / 2
    image = np.where(distance < radius, 180.0, 90.0)
    image[mask] = 40.0
    image = ndimage.gaussian_filter(image, 0.7) + rng.normal(0, 5, shape)
    return np.clip(image, 0, 255).astype(np.uint8), mask


def oblique_volume(seed: int, shape: tuple[int, int, int] = (6, 24, 20)) -> tuple[Volume, np.ndarray]:
    """A bright ellipsoid of two halves on an oblique grid: volume (K, J, I) float32, labels (K, J, I) uint8.

    Label 1 is the half of the lower rows, label 2 the other; the first and the last slice are empty.
    """
    rng = np.random.default_rng(seed)
    indices = np.stack(np.mgrid[: shape[0], : shape[1], : shape[2]], axis=-1)
    centre = (np.array(shape) - 1) / 2
    inside = ((((indices - centre) / (np.array(shape) * (0.4, 0.3, 0.3))) ** 2).sum(axis=-1)) < 1
    labels = np.where(inside, np.where(indices[..., 1] < centre[1], 1, 2), 0).astype(np.uint8)
    array = (200.0 * inside + rng.normal(100, 10, shape)).astype(np.float32)
    return Volume(array, Geometry(shape, (0.75, 1.25, 3.0), (-20.5, 31.0, 4.25), OBLIQUE)), labels


def write_volume(path: Path, array: np.ndarray, geometry: Geometry) -> None:
    """Writes voxels (K, J, I) or (K, J, I, 3) of any type; the extension gives the format."""
    sitk.WriteImage(geometry.apply_to(sitk.GetImageFromArray(array, isVector=array.ndim == 4)), str(path))


def write_picture(path: Path, array: np.ndarray) -> None:
    """Writes (H, W) or (H, W, 3); a mask (bool) becomes 0 and 255."""
    Image.fromarray(array.astype(np.uint8) * 255 if array.dtype == bool else array).save(path)
