from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import make_tiny_model

from activefreq.models.interactive import InteractiveModel
from activefreq.session.automatic import automatic_answer, automatic_probability
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


def test_the_embedding_is_of_the_whole_image_and_of_what_is_seen_of_the_object(model: InteractiveModel) -> None:
    image = prepare_image(picture(1, (64, 64)))
    embedding = automatic_answer(model, image).embedding
    channels = model.backbone.feature_channels
    assert embedding.shape == (2 * channels,)
    assert embedding.dtype == np.float32
    rgb = torch.from_numpy(np.array(image.rgb)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        output = model.coarse(rgb, torch.zeros(1, 3, 64, 64))
    weights = torch.nn.functional.adaptive_avg_pool2d(torch.sigmoid(output.logits), output.feature.shape[2:])
    for half, mean in (
        (embedding[:channels], output.feature.mean((2, 3))[0].numpy()),
        (embedding[channels:], ((output.feature * weights).sum((2, 3)) / weights.sum())[0].numpy()),
    ):
        np.testing.assert_allclose(half, mean / np.linalg.norm(mean), rtol=1e-4, atol=1e-5)


def test_alike_images_have_alike_embeddings(model: InteractiveModel) -> None:
    image = picture(1, (64, 64))
    brighter = np.clip(image.astype(int) + 2, 0, 255).astype(np.uint8)
    flat = np.full((64, 64, 3), 128, np.uint8)
    one, near, far = (automatic_answer(model, prepare_image(array)).embedding for array in (image, brighter, flat))
    assert np.linalg.norm(one - near) < 0.5 * np.linalg.norm(one - far)
