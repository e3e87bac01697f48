"""Comparing the geometries of volumes."""

from __future__ import annotations

import numpy as np

from activefreq.files.grids import Geometry


def assert_same_geometry(first: Geometry, second: Geometry) -> None:
    assert first.shape == second.shape
    np.testing.assert_allclose(first.spacing, second.spacing, rtol=1e-6)
    np.testing.assert_allclose(first.origin, second.origin, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(first.direction, second.direction, atol=1e-6)
