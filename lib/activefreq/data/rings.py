"""Rings around objects whose own outline is known: labels for the wall of a ventricle from those of its cavity.

Experts draw the inner contour of the heart's muscle far more often than the outer one. Where the inner one is known,
an interactive model finds the outer one from a few clicks that need no expert: beside the inner contour on all sides
is muscle, and the cavity is none. What it finds is noisy, but a ring is star-shaped around its centre and changes its
thickness slowly, which takes most of the noise away; where that does not fit, there is no label.

Such labels are for training. They are no truth to measure by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from activefreq.clicks import Click
from activefreq.errors import InputError

_STEP = 0.25


@dataclass(frozen=True)
class RingConfig:
    """How a ring is asked for, and which is believed.

    Attributes:
        outline: How far, in pixels, the mask of the inner object reaches beyond its contour: where an outline was drawn
            with a pen, half of it does.
        beside: Distance of the clicks from the inner contour in pixels.
        rays: Directions in which the thickness is measured.
        thickness: Range of a believable thickness in pixels, in one direction.
        agreeing: Least share of the directions with a believable thickness.
        median: Range of a believable median thickness.
    """

    outline: float = 0.37
    beside: float = 3.0
    rays: int = 72
    thickness: tuple[float, float] = (1.5, 14.0)
    agreeing: float = 0.8
    median: tuple[float, float] = (3.0, 11.0)

    def __post_init__(self) -> None:
        if self.rays < 8:
            raise InputError(f"rays must be at least 8, not {self.rays!r}")
        for name in ("thickness", "median"):
            low, high = getattr(self, name)
            if not 0 < low < high:
                raise InputError(f"{name} must be a range above 0, not {(low, high)!r}")


class Ring(NamedTuple):
    """A ring: mask (H, W) bool, its median thickness in pixels, and the share of believable directions."""

    mask: np.ndarray
    thickness: float
    agreeing: float


def inside_of_outline(mask: np.ndarray, outline: float) -> np.ndarray:
    """(H, W) bool: the mask without `outline` pixels at its border, which may be less than one."""
    # The edge of a mask blurred by one pixel falls by 0.4 a pixel in its middle.
    return ndimage.gaussian_filter(mask.astype(np.float64), 1.0) > 0.5 + 0.4 * outline


def ring_clicks(inner: np.ndarray, config: RingConfig = RingConfig()) -> list[Click] | None:
    """Clicks that ask a model for the ring around an object: on the ring in four directions, and one off it, inside.

    Args:
        inner: (H, W) bool with at least one True.

    Returns:
        The clicks in their order, or None where there is no room around the object for a ring.
    """
    centre = ndimage.center_of_mass(inner)
    away = np.abs(ndimage.distance_transform_edt(~inner) - config.beside)
    ys, xs = np.nonzero(away < 0.7)
    if not len(ys):
        return None
    angles = np.arctan2(ys - centre[0], xs - centre[1])
    clicks = []
    for quarter in range(4):
        wanted = np.pi * (quarter / 2 + 1 / 4)
        nearest = int(np.argmin(np.abs(np.angle(np.exp(1j * (angles - wanted))))))
        clicks.append(Click(int(ys[nearest]), int(xs[nearest])))
    depth = ndimage.distance_transform_edt(inner)
    y, x = np.unravel_index(int(np.argmax(depth)), depth.shape)
    clicks.insert(1, Click(int(y), int(x), False))
    return clicks


def smooth_ring(answer: np.ndarray, inner: np.ndarray, config: RingConfig = RingConfig()) -> Ring | None:
    """The ring of slowly changing thickness that an answer shows, or None where it shows none.

    Args:
        answer: (H, W) bool, what the model says is the ring; it touches `inner`, or what is between belongs to it.
        inner: (H, W) bool with at least one True, what the ring goes around.
    """
    centre = ndimage.center_of_mass(inner)
    turn = np.linspace(0, 2 * np.pi, config.rays, endpoint=False)
    inner_radius = _radii(inner, centre, turn)
    thickness = _radii(answer | inner, centre, turn) - inner_radius
    believable = (thickness >= config.thickness[0]) & (thickness <= config.thickness[1])
    agreeing = float(believable.mean())
    if agreeing < config.agreeing:
        return None
    median = float(np.median(thickness[believable]))
    if not config.median[0] <= median <= config.median[1]:
        return None
    thickness = np.clip(np.where(believable, thickness, median), 0.5 * median, 1.8 * median)
    thickness = ndimage.gaussian_filter1d(ndimage.median_filter(thickness, 9, mode="wrap"), 3, mode="wrap")
    y, x = np.mgrid[: inner.shape[0], : inner.shape[1]]
    angle = np.arctan2(y - centre[0], x - centre[1]) % (2 * np.pi)
    outer = np.interp(angle, turn, inner_radius + thickness, period=2 * np.pi)
    return Ring((np.hypot(y - centre[0], x - centre[1]) <= outer) & ~inner, median, agreeing)


def _radii(mask: np.ndarray, centre: tuple[float, ...], turn: np.ndarray) -> np.ndarray:
    """How far the mask reaches from its centre (y, x) before it first ends, in each direction."""
    far = np.arange(0, np.hypot(mask.shape[0], mask.shape[1]), _STEP)
    rays = [centre[0] + np.outer(np.sin(turn), far), centre[1] + np.outer(np.cos(turn), far)]
    ended = ndimage.map_coordinates(mask.astype(np.float64), rays, order=1) <= 0.5
    return far[np.argmax(ended, axis=1)]
