import numpy as np
import pytest
import torch
from synthetic import grey_ring
from trainees import blob_pictures, quick_config

from activefreq.errors import InputError
from activefreq.training.augmentation import AugmentationConfig
from activefreq.training.batches import Mixture, make_batch
from activefreq.training.config import TrainingConfig
from activefreq.training.objective import make_exercise
from activefreq.training.opinions import OpinionConfig, another_opinion
from activefreq.training.start import initial_model

ALWAYS = OpinionConfig(share=1.0)


def test_few_rounds_and_share_zero_keep_the_experts_mask():
    _, target = grey_ring(1)
    for config, rounds in ((OpinionConfig(), 5), (ALWAYS, 1)):
        assert another_opinion(target, np.random.default_rng(0), config, rounds=rounds) is target


def test_the_share_is_the_share_of_targets_that_differ():
    _, target = grey_ring(1)
    config = OpinionConfig(share=0.3, border=(0.4, 0.4))
    different = [
        (another_opinion(target, np.random.default_rng(seed), config, rounds=2) != target).any() for seed in range(200)
    ]
    assert np.mean(different) == pytest.approx(0.3, abs=0.09)


def test_a_ring_stays_one_object_of_about_its_size():
    _, target = grey_ring(2)
    for seed in range(30):
        other = another_opinion(target, np.random.default_rng(seed), ALWAYS, rounds=2)
        assert 0.5 < other.sum() / target.sum() < 2.0
        assert (other & target).sum() > 0.5 * target.sum()


def test_an_exercise_is_judged_by_the_opinion_that_its_clicks_follow():
    view = AugmentationConfig(whole_share=1.0, scale=(1.0, 1.0), rotation=0.0, flip=False)
    exercises = {}
    for share in (0.0, 1.0):
        config = quick_config(
            rounds=(0.0, 0.0, 1.0),
            opinions=OpinionConfig(share=share),
            augmentation=view,
            target_expansion=(99.0, 99.0),
        )
        model = initial_model(config)
        batch = make_batch(Mixture([blob_pictures(4)]), config, 0)
        exercises[share] = make_exercise(model, batch, config, torch.device("cpu"))
    assert torch.equal(exercises[0.0].images, exercises[1.0].images)
    assert not torch.equal(exercises[0.0].targets, exercises[1.0].targets)
    # Positive clicks lie inside of what is now the truth, negative ones outside.
    for target, prompt in zip(exercises[1.0].targets[:, 0], exercises[1.0].prompt, strict=True):
        positive, negative = prompt[1] > 0, prompt[2] > 0
        assert target[positive].mean() > 0.5
        if negative.any():
            assert target[negative].mean() < 0.5


def test_growth_makes_rings_thicker_and_thinner():
    _, target = grey_ring(2)
    config = OpinionConfig(share=1.0, border=(0.0, 0.0), growth=0.4)
    areas = [
        another_opinion(target, np.random.default_rng(seed), config, rounds=2).sum() / target.sum()
        for seed in range(60)
    ]
    # Its depth is half its thickness, and it grows on both sides.
    assert np.std(areas) == pytest.approx(0.4, abs=0.1)
    assert min(areas) < 0.8
    assert max(areas) > 1.2


def test_shifted_opinions_lie_beside_the_object_as_far_as_they_are_told():
    y, x = np.mgrid[:96, :96]
    target = (y - 48) ** 2 + (x - 48) ** 2 <= 12**2
    config = OpinionConfig(share=1.0, border=(0.0, 0.0), shifted=1.0, shift=(0.5, 0.9))
    for seed in range(30):
        other = another_opinion(target, np.random.default_rng(seed), config, rounds=2)
        assert other.sum() == target.sum()
        distance = np.linalg.norm(np.argwhere(other).mean(0) - np.argwhere(target).mean(0))
        assert 0.5 * 12 - 1 <= distance <= 0.9 * 12.5 + 1


@pytest.mark.parametrize(
    "values",
    [
        {"share": 1.5},
        {"shifted": -0.1},
        {"growth": -1.0},
        {"growth": float("nan")},
        {"growth": float("inf")},
        {"border": (0.5, 0.1)},
        {"shift": (-0.1, 0.2)},
        {"shift": (0.1, float("inf"))},
    ],
)
def test_wrong_options_are_named(values):
    with pytest.raises(InputError, match=next(iter(values))):
        OpinionConfig(**values)


def test_the_configuration_is_part_of_a_training():
    assert TrainingConfig().opinions == OpinionConfig()
