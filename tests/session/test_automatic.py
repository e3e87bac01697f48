from __future__ import annotations

import numpy as np
import pytest
from tiny import make_tiny_model

from activefreq.models.interactive import InteractiveModel
from activefreq.session.automatic import automatic_probability
from activefreq.session.state import prepare_image


@pytest.fixture(scope="module")
def model() -> InteractiveModel:
    return make_tiny_model(seed=1)


def picture(seed: int, shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


@pytest.mark.parametrize("shape", [(40, 70), (64, 64), (130, 90), (1, 5)])
def test_answers_images_of_any_size(model: InteractiveModel, shape: tuple[int, int]) -> None:
    probability = automatic_probability(model, prepare_image(picture(0, shape)))
    assert probability.shape == shape
    assert probability.dtype == np.float32
    assert 0 <= probability.min() <= probability.max() <= 1


def test_different_images_have_different_answers(model: InteractiveModel) -> None:
    first, second = (automatic_probability(model, prepare_image(picture(seed, (64, 64)))) for seed in (1, 2))
    assert np.abs(first - second).max() > 1e-4
    again = automatic_probability(model, prepare_image(picture(1, (64, 64))))
    np.testing.assert_array_equal(first, again)
