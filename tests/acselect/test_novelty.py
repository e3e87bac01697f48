from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from activefreq.acselect.novelty import Novelty, mean_embedding
from activefreq.errors import InputError


def vectors(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)


@given(st.integers(1, 40), st.lists(st.integers(0, 6), max_size=4), st.integers(0, 6), st.integers(0, 99))
def test_distances_are_to_the_nearest_image_seen(count: int, seen: list[int], added: int, seed: int) -> None:
    images, more = vectors(count, seed), vectors(added, seed + 100)
    labelled = [vectors(size, 1000 * (number + 1) + seed) for number, size in enumerate(seen)]
    novelty = Novelty(images)
    for number, part in enumerate(labelled):
        novelty.see(part)
        if number == 0:
            novelty.add(more)
    if not labelled:
        novelty.add(more)
    everything = np.concatenate([np.empty((0, 5), np.float32), *labelled])
    expected = cdist(np.concatenate([images, more]), everything).min(axis=1, initial=np.inf)
    np.testing.assert_allclose(novelty.distances(), expected, rtol=1e-3, atol=1e-3)


def test_more_than_one_piece_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activefreq.acselect.novelty._ROWS", 4)
    novelty = Novelty(vectors(11, 0))
    novelty.see(vectors(3, 1))
    np.testing.assert_allclose(novelty.distances(), cdist(vectors(11, 0), vectors(3, 1)).min(axis=1), atol=1e-3)


def test_an_image_is_not_new_once_it_is_seen() -> None:
    images = vectors(6, 0)
    novelty = Novelty(images)
    novelty.see(images[2:3])
    distances = novelty.distances()
    assert distances[2] == pytest.approx(0.0, abs=2e-3)
    assert (np.delete(distances, 2) > 0.1).all()


def test_what_is_seen_once_leaves_no_trace() -> None:
    images = vectors(6, 0)
    novelty = Novelty(images)
    novelty.see(vectors(2, 1))
    before = novelty.distances()
    with_one = novelty.distances(images[:1])
    assert with_one[0] == pytest.approx(0.0, abs=2e-3)
    assert (with_one <= before).all()
    np.testing.assert_array_equal(novelty.distances(), before)


def test_nothing_seen_is_infinitely_far_and_no_embedding_is_not_known() -> None:
    images = vectors(3, 0)
    images[1] = np.nan
    novelty = Novelty(images)
    novelty.see(np.full((2, 5), np.nan))
    np.testing.assert_array_equal(novelty.distances(), [np.inf, np.nan, np.inf])
    novelty.see(vectors(1, 1))
    assert np.isnan(novelty.distances()).tolist() == [False, True, False]


def test_embeddings_of_another_length_are_refused() -> None:
    with pytest.raises(InputError, match="length 5"):
        Novelty(vectors(3, 0)).see(np.zeros((2, 4)))
    with pytest.raises(InputError, match="shape"):
        Novelty(np.zeros(4))


def test_a_volumes_embedding_is_that_of_its_object() -> None:
    slices = [np.array([1.0, 0.0]), np.array([0.0, 1.0])]
    assert mean_embedding(slices, [3.0, 1.0]).tolist() == [0.75, 0.25]
    assert mean_embedding(slices, [0.0, 0.0]).tolist() == [0.5, 0.5]
    assert mean_embedding(slices, [3.0, 1.0]).dtype == np.float32
