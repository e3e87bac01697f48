from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from activefreq.acselect.clicker import standard_click
from activefreq.clicks import Click
from activefreq.errors import InputError
from activefreq.training.clicking import ClickSamplingConfig, correcting_click, first_clicks

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=12))


def depth(mask: np.ndarray) -> np.ndarray:
    return ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]


@given(MASKS.filter(np.any), st.integers(0, 10_000))
def test_first_clicks_tell_the_truth_and_the_first_one_is_deep_inside(target: np.ndarray, seed: int) -> None:
    clicks = first_clicks(target, np.random.default_rng(seed))
    assert clicks[0].positive
    assert depth(target)[clicks[0].y, clicks[0].x] >= depth(target).max() / 2
    for click in clicks:
        assert target[click.y, click.x] == click.positive
    assert sum(click.positive for click in clicks) <= 4
    assert sum(not click.positive for click in clicks) <= 3


def test_the_share_of_single_clicks_is_kept() -> None:
    target = np.zeros((20, 20), bool)
    target[5:15, 5:15] = True
    config = ClickSamplingConfig(single_share=0.6)
    counts = [len(first_clicks(target, np.random.default_rng(seed), config)) for seed in range(2000)]
    # Of the others one in 4 x 4 draws no further click either.
    assert np.mean(np.array(counts) == 1) == pytest.approx(0.6 + 0.4 / 16, abs=0.04)
    assert max(counts) == 7


def test_central_clicks_are_the_most_interior_pixel() -> None:
    target = np.zeros((21, 21), bool)
    target[4:17, 4:17] = True
    for seed in range(20):
        config = ClickSamplingConfig(single_share=1.0, central_share=1.0)
        assert first_clicks(target, np.random.default_rng(seed), config) == [Click(10, 10, True)]


@given(MASKS, st.data())
def test_corrections_fall_on_the_deeper_error_and_tell_the_truth(target: np.ndarray, data: st.DataObject) -> None:
    prediction = data.draw(hnp.arrays(bool, target.shape))
    click = correcting_click(prediction, target, np.random.default_rng(data.draw(st.integers(0, 1000))))
    if (prediction == target).all():
        assert click is None
        return
    assert click is not None
    assert target[click.y, click.x] == click.positive
    assert prediction[click.y, click.x] != click.positive
    missed, excess = depth(target & ~prediction), depth(prediction & ~target)
    assert (missed if click.positive else excess)[click.y, click.x] >= max(missed.max(), excess.max()) / 2
    assert click.positive == (missed.max() > excess.max())
    # The same sign as the clicker that evaluates.
    standard = standard_click(prediction, target, np.zeros_like(target))
    assert standard is not None
    assert click.positive == standard.positive


def test_the_same_seed_clicks_the_same() -> None:
    target = np.ones((9, 9), bool)
    runs = [first_clicks(target, np.random.default_rng(5)) for _ in range(2)]
    assert runs[0] == runs[1]
    assert any(first_clicks(target, np.random.default_rng(seed)) != runs[0] for seed in range(20))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positives": 0}, "positives must be at least 1, not 0"),
        ({"negatives": -1}, "negatives must be at least 0, not -1"),
        ({"single_share": 1.5}, "single_share must be from 0 to 1, not 1.5"),
        ({"central_share": -0.1}, "central_share must be from 0 to 1, not -0.1"),
    ],
)
def test_settings_that_make_no_clicks_are_named(change: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClickSamplingConfig(**change)  # type: ignore[arg-type]


def test_one_positive_and_no_negative_click_at_most() -> None:
    target = np.zeros((9, 9), bool)
    target[2:7, 2:7] = True
    config = ClickSamplingConfig(single_share=0.0, positives=1, negatives=0)
    for seed in range(20):
        (click,) = first_clicks(target, np.random.default_rng(seed), config)
        assert click.positive
