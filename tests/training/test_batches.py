from __future__ import annotations

import dataclasses
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainees import Picture, quick_config

from activefreq.session.hounsfield import BONE, LUNG, SOFT_TISSUE, Window
from activefreq.training.augmentation import AugmentationConfig
from activefreq.training.batches import Batch, Mixture, batches, make_batch


def same(one: Batch, other: Batch) -> bool:
    return (
        one.step == other.step
        and one.seeds == other.seeds
        and all(
            np.array_equal(a.image, b.image) and np.array_equal(a.target, b.target)
            for a, b in zip(one.views, other.views, strict=True)
        )
    )


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
    st.data(),
)
def test_an_epoch_has_each_source_in_its_proportion(lengths: list[int], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.floats(0.5, 5), min_size=len(lengths), max_size=len(lengths)))
    mixture = Mixture([[None] * length for length in lengths], weights)  # type: ignore[list-item]
    order = mixture.order(0, 0)
    assert len(order) == mixture.length
    assert sum(lengths) <= mixture.length < sum(lengths) + len(lengths)
    counts = Counter(source for source, _ in order)
    for number, weight in enumerate(weights):
        assert counts[number] == mixture.counts[number]
        assert counts[number] == pytest.approx(weight / sum(weights) * sum(lengths), abs=1)


def test_no_source_is_left_out_however_little_it_weighs() -> None:
    mixture = Mixture([[None] * 200, [None] * 40], [1000, 1])  # type: ignore[list-item]
    assert mixture.counts == (240, 1)
    assert {source for source, _ in mixture.order(3, 5)} == {0, 1}


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 5))
def test_within_a_source_none_comes_twice_before_all_came_once(first: int, second: int, epoch: int) -> None:
    mixture = Mixture([[None] * first, [None] * second], [3, 1])  # type: ignore[list-item]
    counts = Counter(mixture.order(1, epoch))
    for number, length in enumerate((first, second)):
        seen = [counts[number, index] for index in range(length)]
        assert max(seen) - min(seen) <= 1


def test_epochs_and_seeds_differ_and_repeat() -> None:
    mixture = Mixture([[None] * 30])  # type: ignore[list-item]
    assert mixture.order(0, 0) == mixture.order(0, 0)
    assert mixture.order(0, 0) != mixture.order(0, 1)
    assert mixture.order(0, 0) != mixture.order(1, 0)


def test_a_batch_is_a_function_of_the_step(blobs: list[Picture]) -> None:
    config = quick_config()
    mixture = Mixture([blobs])
    assert same(make_batch(mixture, config, 5), make_batch(mixture, config, 5))
    assert not same(make_batch(mixture, config, 3), make_batch(mixture, config, 5))


def test_views_have_the_detail_of_their_stage(blobs: list[Picture]) -> None:
    config = quick_config(augmentation=AugmentationConfig(whole_share=1.0, scale=(1.0, 1.0), detail=1.0))
    mixture = Mixture([blobs])
    assert max(blobs[0].image.shape) == 64
    assert {max(view.image.shape) for view in make_batch(mixture, config, 2).views} == {32}
    assert {max(view.image.shape) for view in make_batch(mixture, config, 3).views} == {64}


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_may_begin_anywhere_and_workers_change_nothing(blobs: list[Picture], workers: int) -> None:
    config = quick_config()
    mixture = Mixture([blobs])
    expected = [make_batch(mixture, config, step) for step in range(5, config.steps)]
    made = list(batches(mixture, dataclasses.replace(config, workers=workers), start=5))
    assert len(made) == len(expected)
    assert all(same(one, other) for one, other in zip(made, expected, strict=True))


@pytest.mark.parametrize("world", [2, 3])
def test_processes_divide_the_batch(blobs: list[Picture], world: int) -> None:
    config = quick_config(batch_size=5)
    mixture = Mixture([blobs])
    whole = make_batch(mixture, config, 4)
    parts = [make_batch(mixture, config, 4, rank=rank, world=world) for rank in range(world)]
    for rank, part in enumerate(parts):
        assert part.seeds == whole.seeds[rank::world]
        for view, expected in zip(part.views, whole.views[rank::world], strict=True):
            assert np.array_equal(view.image, expected.image)
    assert sum(len(part.views) for part in parts) == 5


def test_the_stream_runs_on_over_the_end_of_an_epoch(blobs: list[Picture]) -> None:
    mixture = Mixture([blobs])
    config = quick_config(batch_size=4)
    positions = [seed[2] for step in range(4) for seed in make_batch(mixture, config, step).seeds]
    assert all(after == before + 1 for before, after in pairwise(positions))
    twice = mixture.at(config.seed, range(2 * len(blobs)))
    assert Counter(map(id, twice)) == {id(blob): 2 for blob in blobs}


@pytest.mark.parametrize(
    ("sources", "weights"), [([], None), ([[]], None), ([[1], [2]], [1.0]), ([[1], [2]], [1.0, 0.0])]
)
def test_impossible_mixtures_are_refused(sources: list[list[int]], weights: list[float] | None) -> None:
    with pytest.raises(ValueError, match="a mixture needs"):
        Mixture(sources, weights)  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "window"), [(60, SOFT_TISSUE), (-850, LUNG), (900, BONE)])
def test_ct_is_trained_on_as_a_session_sees_it_after_a_click_on_the_object(value: int, window: Window) -> None:
    image = np.full((64, 64), -1000, np.int16)
    image[8:56, 8:56] = 30
    target = np.zeros(image.shape, bool)
    target[20:40, 20:40] = True
    image[target] = value
    still = AugmentationConfig(
        whole_share=1.0,
        scale=(1.0, 1.0),
        enlarged_share=0.0,
        rotation=0.0,
        flip=False,
        brightness=0.0,
        contrast=0.0,
        saturation=0.0,
    )
    config = dataclasses.replace(quick_config(), augmentation=still)
    (view, *_) = make_batch(Mixture([[Picture(image, target)]]), config, 0).views
    np.testing.assert_array_equal(view.target, target)
    np.testing.assert_allclose(view.image[..., 0], window.stretch(image), atol=1e-5)
