import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from trainees import Picture, quick_config

from activefreq.clicks import Click
from activefreq.training import objective
from activefreq.training.augmentation import AugmentationConfig, random_view
from activefreq.training.batches import Mixture, make_batch
from activefreq.training.grid import in_view, mask_on_grid, obey
from activefreq.training.objective import make_exercise
from activefreq.training.start import initial_model

SIZE = 64


@given(st.integers(1, SIZE), st.integers(1, SIZE), st.data())
def test_a_click_lies_in_the_middle_of_its_pixel(rows, columns, data):
    click = Click(data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1)))
    seen = in_view(click, (rows, columns), SIZE)
    for at, pixel, side in ((seen.y, click.y, rows), (seen.x, click.x, columns)):
        assert abs((at + 0.5) - (pixel + 0.5) * SIZE / side) <= 0.5


def test_a_mask_keeps_its_pixels_on_a_grid_of_its_own_size_and_never_vanishes():
    mask = np.zeros((SIZE, SIZE), bool)
    mask[8:16, 24:40] = True
    np.testing.assert_array_equal(mask_on_grid(mask, (SIZE, SIZE)), mask)
    coarse = np.zeros((8, 8), bool)
    coarse[1, 3:5] = True
    np.testing.assert_array_equal(mask_on_grid(mask, (8, 8)), coarse)
    speck = np.zeros((SIZE, SIZE), bool)
    speck[5, 5] = True
    np.testing.assert_array_equal(mask_on_grid(speck, (4, 4)), speck)


def test_what_was_said_of_a_pixel_holds_and_nothing_else_changes():
    probability = torch.full((1, 4, 4), 0.3)
    said = obey(probability, [Click(1, 1, True), Click(2, 2, False), Click(1, 1, False), Click(3, 3, True)])
    expected = torch.full((1, 4, 4), 0.3)
    expected[0, 1, 1], expected[0, 3, 3] = 0.0, 1.0
    assert torch.equal(said, expected)
    assert probability.max() < 0.5


def test_a_view_knows_how_many_pixels_of_the_image_it_shows():
    image, target = np.zeros((30, 50, 3), np.float32), np.zeros((30, 50), bool)
    target[10:20, 20:30] = True
    rng = np.random.default_rng(0)
    whole = AugmentationConfig(whole_share=1.0, scale=(1.0, 1.0), flip=False, rotation=0.0)
    assert random_view(image, target, SIZE, rng, whole).grid == (30, 50)
    near = AugmentationConfig(whole_share=0.0, window=(2.0, 2.0), window_minimum=1.0)
    assert random_view(image, target, SIZE, rng, near).grid == (20, 20)
    # A view of more pixels than it has itself has no enlarged ones.
    assert random_view(image, target, 32, rng, whole).grid == (30, 32)


def test_previous_answers_of_a_small_image_are_as_coarse_as_its_pixels(monkeypatch):
    image, target = np.full((16, 16, 3), 90, np.uint8), np.zeros((16, 16), bool)
    image[4:12, 4:12], target[4:12, 4:12] = 200, True
    still = AugmentationConfig(whole_share=1.0, scale=(1.0, 1.0), flip=False, rotation=0.0)
    config = quick_config(rounds=(0.0, 1.0), augmentation=still)
    model = initial_model(config)
    batch = make_batch(Mixture([[Picture(image, target)] * 4]), config, 4)
    stripes = torch.zeros(4, 1, 64, 64)
    stripes[..., ::2] = 0.8
    monkeypatch.setattr(objective, "_answer", lambda *_: stripes)
    exercise = make_exercise(model, batch, config, torch.device("cpu"))
    # Stripes finer than the image's pixels leave their mean, but where a click says otherwise.
    gray = (exercise.prompt[:, 0] - 0.4).abs() < 0.05
    assert gray.float().mean() > 0.9
    assert (exercise.prompt[:, 0].amax((1, 2)) > 0.8).all()
