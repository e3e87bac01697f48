from __future__ import annotations

import torch

from activefreq.models.prompts import IMAGE_MEAN, IMAGE_STD, ImageNormalization, prompt_stem


def test_normalization_is_imagenets_and_not_part_of_a_checkpoint() -> None:
    normalize = ImageNormalization()
    mean = torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(IMAGE_STD).view(1, 3, 1, 1)
    torch.testing.assert_close(normalize(mean.expand(1, 3, 2, 2)), torch.zeros(1, 3, 2, 2))
    torch.testing.assert_close(normalize((mean + std).expand(1, 3, 2, 2)), torch.ones(1, 3, 2, 2))
    assert not normalize.state_dict()


def test_a_prompt_starts_without_effect_and_keeps_an_image_stems_size() -> None:
    stem = prompt_stem(5, kernel_size=7, stride=4)
    output = stem(torch.rand(1, 3, 33, 64))
    assert output.shape == (1, 5, 9, 16)
    assert not output.any()
