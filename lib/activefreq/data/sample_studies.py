"""Small studies to click on at once, without a download.

Two are made here, with their true masks: a dermoscopy-like colour photograph, and an MR-like volume whose slices are
thick and oblique. The others are real images that scikit-image ships: a retina, stained tissue, and a cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image
from scipy import ndimage
from scipy.spatial.transform import Rotation
from skimage import data, draw

from activefreq.files.atomic import atomic_write


@dataclass(frozen=True)
class SamplePhotograph:
    """image: (H, W, 3) uint8; mask: (H, W) bool, the lesion."""

    image: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class SampleVolume:
    """image: 16-bit scan with an oblique, anisotropic geometry; mask: (K, J, I) bool, the lesion."""

    image: sitk.Image
    mask: np.ndarray


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Noise of zero mean and unit deviation whose structures are about `scale` pixels wide."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), scale, mode="wrap")
    return (noise - noise.mean()) / noise.std()


def dermoscopy_like(shape: tuple[int, int] = (384, 512), *, seed: int = 0) -> SamplePhotograph:
    """A pigmented lesion on skin under hairs and a vignette, in the colours of dermoscopy.

    Args:
        shape: (H, W), at least 32 each.
        seed: Another seed is another lesion.
    """
    rng = np.random.default_rng(seed)
    height, width = shape
    size = min(shape)
    y, x = np.mgrid[:height, :width]
    centre = np.array(shape) * rng.uniform(0.42, 0.58, 2)
    dy, dx = (y - centre[0]) / size, (x - centre[1]) / size

    turn = rng.uniform(0, np.pi)
    along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    border = 0.04 * _smooth_noise(rng, shape, size / 16)
    inside = 1 - np.hypot(along / 0.30, across / 0.22) + border
    mask = ndimage.binary_fill_holes(inside > 0)
    labels, _ = ndimage.label(mask)
    mask = labels == labels[int(centre[0]), int(centre[1])]

    skin = np.array([214, 168, 146]) + 5 * _smooth_noise(rng, shape, size / 10)[..., None]
    pigment = np.array([104, 66, 52]) + 16 * _smooth_noise(rng, shape, size / 40)[..., None] * [1, 0.8, 0.7]
    share = ndimage.gaussian_filter(mask.astype(float), size / 120)[..., None]
    image = skin * (1 - share) + pigment * share

    hairs = np.zeros(shape)
    for _ in range(9):
        (y0, x0), (y1, x1), (y2, x2) = rng.integers(0, shape, (3, 2)).tolist()
        rows, columns = draw.bezier_curve(y0, x0, y1, x1, y2, x2, weight=1.0, shape=shape)
        hairs[rows, columns] = 1
    hairs = np.clip(2.2 * ndimage.gaussian_filter(hairs, 0.8), 0, 0.8)[..., None]
    image = image * (1 - hairs) + np.array([46, 34, 30]) * hairs

    radius = np.hypot((y / height - 0.5), (x / width - 0.5))[..., None]
    image = image * (1 - 0.55 * np.clip(radius - 0.35, 0, 1)) + rng.normal(0, 2.5, (*shape, 3))
    return SamplePhotograph(np.clip(image, 0, 255).round().astype(np.uint8), mask)


def mr_like(size: tuple[int, int, int] = (112, 128, 20), *, seed: int = 0) -> SampleVolume:
    """A head-like phantom with a bright lesion, scanned in thick oblique slices.

    Args:
        size: (I, J, K): columns, rows and slices, at least 32 x 32 x 8.
        seed: Another seed is another lesion and another noise.

    Returns:
        int16 volume, spacing 1.1 x 1.1 x 5 mm, with direction cosines that are turned about all three axes and
        flipped along one (a left-handed file order, as some scanners write it).
    """
    rng = np.random.default_rng(seed)
    columns, rows, slices = size
    k, j, i = np.mgrid[:slices, :rows, :columns]
    # Normalized coordinates; the head fills nine tenths of the frame.
    u, v, w = (2 * (a + 0.5) / n - 1 for a, n in ((i, columns), (j, rows), (k, slices)))

    def ellipsoid(centre: tuple[float, float, float], axes: tuple[float, float, float]) -> np.ndarray:
        return (
            ((u - centre[0]) / axes[0]) ** 2 + ((v - centre[1]) / axes[1]) ** 2 + ((w - centre[2]) / axes[2]) ** 2
        ) < 1

    tissue = np.zeros((slices, rows, columns))
    tissue[ellipsoid((0, 0, 0), (0.84, 0.92, 1.25))] = 520  # scalp
    tissue[ellipsoid((0, 0, 0), (0.78, 0.87, 1.18))] = 60  # skull
    brain = ellipsoid((0, 0, 0), (0.72, 0.81, 1.10))
    tissue[brain] = 330
    white = brain & (0.35 * _smooth_noise(rng, brain.shape, 4) + 1.2 - np.hypot(u / 0.62, v / 0.7) > 0.45)
    tissue[white] = 410
    for side in (-1, 1):
        tissue[ellipsoid((0.16 * side, -0.05, 0), (0.09, 0.34, 0.6))] = 130  # ventricles

    centre = (rng.choice([-1, 1]) * 0.36, rng.uniform(-0.3, 0.3), rng.uniform(-0.15, 0.15))
    border = 0.12 * _smooth_noise(rng, brain.shape, 3)
    distance = np.sqrt(sum(((a - c) / r) ** 2 for a, c, r in zip((u, v, w), centre, (0.2, 0.19, 0.5), strict=True)))
    labels, _ = ndimage.label((distance + border < 1) & brain)
    nearest = np.unravel_index(np.argmin(distance), distance.shape)
    mask = labels == labels[nearest]
    tissue[mask] = 640

    bias = 1 + 0.08 * u - 0.06 * v
    # Blurred within the slice only: the slices are thick, but they do not run into one another.
    scan = ndimage.gaussian_filter(tissue, (0, 0.7, 0.7)) * bias
    scan = np.hypot(scan + rng.normal(0, 14, scan.shape), rng.normal(0, 14, scan.shape))  # Rician, as magnitude MR is

    image = sitk.GetImageFromArray(scan.round().astype(np.int16))
    turned = Rotation.from_euler("xyz", (18, -12, 7), degrees=True).as_matrix() @ np.diag([1, 1, -1])
    image.SetSpacing((1.1, 1.1, 5.0))
    image.SetDirection(turned.ravel().tolist())
    image.SetOrigin((-52.5, 61.0, 33.25))
    return SampleVolume(image, mask)


def write_sample_studies(folder: Path) -> list[Path]:
    """Fills `folder` with the sample studies; files that exist already are left as they are.

    Returns:
        The paths of all of them, in the order of their names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    photographs = {
        "cell.png": data.cell,
        "dermoscopy.jpg": lambda: dermoscopy_like().image,
        "retina.jpg": data.retina,
        "tissue.png": data.immunohistochemistry,
    }
    for name, make in photographs.items():
        if not (folder / name).exists():
            with atomic_write(folder / name) as path:
                Image.fromarray(make()).save(path, quality=95)
    volume = folder / "mr_oblique.nii.gz"
    if not volume.exists():
        with atomic_write(volume) as path:
            sitk.WriteImage(mr_like().image, str(path), useCompression=True)
    return sorted([volume, *(folder / name for name in photographs)])
