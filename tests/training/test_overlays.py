from __future__ import annotations

import numpy as np
import pytest

from activefreq.clicks import Click
from activefreq.training.overlays import ANSWER, NEGATIVE, POSITIVE, TRUTH, overlay


@pytest.mark.parametrize("shape", [(40, 60), (600, 400)])
def test_outlines_and_clicks_are_where_they_belong(shape: tuple[int, int]) -> None:
    image = np.full(shape, 100, np.uint8)
    image[0, 0] = 0
    target, mask = np.zeros(shape, bool), np.zeros(shape, bool)
    height, width = shape
    target[height // 4 : height // 2, width // 4 : width // 2] = True
    mask[height // 2 : 3 * height // 4, width // 2 : 3 * width // 4] = True
    clicks = [Click(height // 8, width // 8), Click(height - height // 8, width // 8, positive=False)]
    picture = overlay(image, target, mask, clicks, longest=200)
    assert picture.dtype == np.uint8
    assert max(picture.shape[:2]) == 200
    scale = 200 / max(shape)
    for colour, region in ((TRUTH, target), (ANSWER, mask)):
        drawn = np.argwhere((picture == colour).all(axis=2))
        expected = np.argwhere(region)
        np.testing.assert_allclose(drawn.min(axis=0), expected.min(axis=0) * scale, atol=2)
        np.testing.assert_allclose(drawn.max(axis=0), expected.max(axis=0) * scale, atol=3)
    for colour, click in zip((POSITIVE, NEGATIVE), clicks, strict=True):
        drawn = np.argwhere((picture == colour).all(axis=2)).mean(axis=0)
        np.testing.assert_allclose(drawn, ((click.y + 0.5) * scale - 0.5, (click.x + 0.5) * scale - 0.5), atol=1)
