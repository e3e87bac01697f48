from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from activefreq.acselect.ranking import RankingConfig, SliceMeasure, measure_slice, score_image, spread_slices
from activefreq.errors import InputError


def disk(side: int, radius: float, soft: float = 0.15) -> np.ndarray:
    """A round object whose probability falls off at its border, over a width in proportion to its radius."""
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    return 1 / (1 + np.exp((np.hypot(rows, columns) - radius) / (soft * radius)))


def test_a_sure_model_leaves_nothing_in_doubt() -> None:
    sure = (disk(64, 20) > 0.5).astype(float)
    measure = measure_slice(sure)
    assert (measure.doubt, measure.score, measure.entropy) == (0.0, 0.0, 0.0)
    assert measure.size == sure.sum()
    assert measure.foreground == sure.mean()


def test_doubt_is_the_weighted_number_of_expected_errors() -> None:
    probability = np.zeros((10, 10))
    probability[2:6, 2:6] = 1.0
    probability[8, 1:5] = 0.4
    measure = measure_slice(probability)
    entropy = -0.4 * math.log(0.4) - 0.6 * math.log(0.6)
    weight = (2 * entropy + 1) / (2 * math.log(2) + 1)
    assert measure.doubt == pytest.approx(weight * 4 * 0.4)
    assert measure.size == pytest.approx(16 + 4 * 0.4)
    assert measure.score == pytest.approx(measure.doubt / measure.size)


@pytest.mark.parametrize("factor", [2, 3])
def test_enlarging_an_image_changes_no_score(factor: int) -> None:
    small = disk(48, 12)
    large = small.repeat(factor, 0).repeat(factor, 1)
    assert measure_slice(large).score == pytest.approx(measure_slice(small).score, rel=1e-9)
    assert measure_slice(large).entropy == pytest.approx(measure_slice(small).entropy, rel=1e-9)


def test_adding_certain_background_changes_the_entropy_but_not_the_score() -> None:
    probability = np.where(disk(48, 12) > 0.01, disk(48, 12), 0.0)
    wide = np.pad(probability, 40)
    assert measure_slice(wide).score == pytest.approx(measure_slice(probability).score, rel=1e-9)
    assert measure_slice(wide).entropy < 0.3 * measure_slice(probability).entropy


def test_the_score_does_not_depend_on_the_size_of_the_object() -> None:
    scores = [measure_slice(disk(200, radius, soft=0.1)).score for radius in (15, 30, 60)]
    assert max(scores) / min(scores) < 1.05


def test_more_doubt_scores_higher() -> None:
    scores = [measure_slice(disk(100, 30, soft)).score for soft in (0.02, 0.05, 0.1, 0.2)]
    assert scores == sorted(scores)
    assert scores[0] < 0.5 * scores[-1]


def test_an_object_that_was_hardly_found_scores_higher_than_one_that_was() -> None:
    faint = 0.45 * (disk(64, 15) > 0.5)
    assert measure_slice(faint).score > 2 * measure_slice(disk(64, 15, 0.02)).score


def test_a_volume_is_scored_by_all_of_its_object() -> None:
    slices = [
        SliceMeasure(doubt=1.0, size=2.0, entropy=0.1, foreground=0.01),
        SliceMeasure(doubt=30.0, size=300.0, entropy=0.3, foreground=0.2),
        SliceMeasure(doubt=0.0, size=0.0, entropy=0.0, foreground=0.0),
    ]
    score = score_image(slices)
    # The speck of the first slice, half of it in doubt, does not make the score.
    assert score.acselect == pytest.approx(31 / 302)
    assert score.entropy == pytest.approx(0.4 / 3)
    assert score.foreground == pytest.approx(0.07)
    assert score.slice == 1
    assert score_image(slices, [4, 12, 20]).slice == 12


def test_the_number_of_slices_makes_no_score() -> None:
    one = measure_slice(disk(32, 9))
    assert score_image([one] * 7).acselect == pytest.approx(score_image([one]).acselect)


def test_an_image_without_a_slice_is_refused() -> None:
    with pytest.raises(InputError, match="slices"):
        score_image([])
    with pytest.raises(InputError, match="number for each"):
        score_image([measure_slice(disk(8, 2))], [1, 2])


@pytest.mark.parametrize("probability", [np.zeros((0, 4)), np.zeros((4, 4, 3)), np.full((3, 3), np.nan)])
def test_what_is_no_probability_is_refused(probability: np.ndarray) -> None:
    with pytest.raises(InputError, match="probabilit"):
        measure_slice(probability)


@pytest.mark.parametrize(("options", "named"), [({"size": "linear"}, "size"), ({"least_chance": 0.7}, "least chance")])
def test_wrong_options_are_named(options: dict[str, float], named: str) -> None:
    with pytest.raises(InputError, match=named):
        RankingConfig(**options)


@given(arrays(np.float64, (7, 9), elements=st.floats(0, 1)))
def test_the_score_is_a_share(probability: np.ndarray) -> None:
    measure = measure_slice(probability)
    assert 0.0 <= measure.score <= 1.0
    assert 0.0 <= measure.entropy <= math.log(2) + 1e-12


@given(st.integers(1, 500), st.integers(1, 60))
def test_slices_are_spread_over_the_volume(count: int, limit: int) -> None:
    chosen = spread_slices(count, limit)
    assert len(chosen) == min(count, limit)
    assert chosen[0] >= 0
    assert chosen[-1] < count
    steps = np.diff([-1 - chosen[0], *chosen, 2 * count - 1 - chosen[-1]])
    assert (steps > 0).all()
    assert steps.max() <= -(-count // min(count, limit)) + 1


def test_no_slices_can_be_spread() -> None:
    with pytest.raises(InputError):
        spread_slices(0, 4)
