from __future__ import annotations

import numpy as np
import pytest
import torch
from blobs import blobs
from tiny import make_tiny_model

from activefreq.models.checkpoint import Checkpoint
from activefreq.models.interactive import InteractiveModel
from activefreq.session.automatic import automatic_answer
from activefreq.session.state import prepare_image
from activefreq.simulation.config import SimulationConfig
from activefreq.simulation.readout import PENALTY, ReadoutLearner, fit

CPU = torch.device("cpu")
CONFIG = SimulationConfig(size=64, max_clicks=2)


@pytest.fixture(scope="module")
def model() -> InteractiveModel:
    return make_tiny_model(seed=1)


@pytest.fixture(scope="module")
def learner(model: InteractiveModel) -> ReadoutLearner:
    return ReadoutLearner(Checkpoint(model), blobs(0, 6), CONFIG, CPU)


def test_the_fit_is_the_optimum() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(3, 4, 8, 8, generator=generator)
    shares = torch.sigmoid(2 * inputs[:, 1] - 1)
    weights = fit(inputs, shares)
    rows, targets = inputs.movedim(1, -1).reshape(-1, 4), shares.reshape(-1)
    residual = torch.sigmoid(rows @ weights[:-1] + weights[-1]) - targets
    assert (rows.T @ residual / len(rows) + 2 * PENALTY * weights[:-1]).abs().max() < 1e-3
    assert residual.mean().abs() < 1e-3
    assert int(weights[:-1].abs().argmax()) == 1


def test_it_learns_what_it_is_shown(learner: ReadoutLearner) -> None:
    pool = blobs(0, 6)
    before = learner.beginner().test(pool)["miou@0"]
    after = learner.train(pool, seed=0).test(pool)["miou@0"]
    assert after > before + 0.2


def test_training_is_repeatable_and_its_seed_means_nothing(learner: ReadoutLearner) -> None:
    one, two = (learner.train(blobs(0, 3), seed=seed).test(blobs(20, 2)) for seed in (0, 1))
    assert one == two


def test_its_outlook_is_of_its_own_answers_and_of_the_networks_features(
    learner: ReadoutLearner, model: InteractiveModel
) -> None:
    samples = blobs(0, 3)
    outlook = learner.train(samples, seed=0).look_at(samples)
    other = learner.train(samples[:1], seed=0).look_at(samples)
    assert [one.acselect for one in outlook.scores] != [one.acselect for one in other.scores]
    for sample, embedding in zip(samples, outlook.embeddings, strict=True):
        expected = automatic_answer(model, prepare_image(sample.image)).embedding
        half = len(expected) // 2
        # The mean over the image is the network's; that over the object is of the read-out's own object.
        np.testing.assert_allclose(embedding[:half], expected[:half], rtol=1e-3, atol=1e-4)
        assert np.linalg.norm(embedding[half:]) == pytest.approx(1.0, abs=1e-4)
