from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from activefreq.acselect.coverage import Coverage, mean_embedding
from activefreq.errors import InputError


def vectors(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)


def objective(images: np.ndarray, labelled: np.ndarray) -> float:
    """The mean squared distance to the nearest labelled image; before any, all are as far away as the two farthest."""
    farthest = cdist(images, images, "sqeuclidean").max()
    return float(np.minimum(cdist(images, labelled, "sqeuclidean").min(axis=1, initial=np.inf), farthest).mean())


@given(st.integers(1, 30), st.lists(st.integers(0, 6), max_size=4), st.integers(0, 6), st.integers(0, 99))
def test_a_gain_is_what_the_label_would_save(count: int, seen: list[int], added: int, seed: int) -> None:
    images, more = vectors(count, seed), vectors(added, seed + 100)
    labelled = [vectors(size, 1000 * (number + 1) + seed) for number, size in enumerate(seen)]
    coverage = Coverage(images)
    for number, part in enumerate(labelled):
        coverage.see(part)
        if number == 0:
            coverage.gains()
            coverage.add(more)
    if not labelled:
        coverage.add(more)
    everything, known = np.concatenate([images, more]), np.concatenate([np.empty((0, 5), np.float32), *labelled])
    before = objective(everything, known)
    expected = [before - objective(everything, np.concatenate([known, one[None]])) for one in everything]
    np.testing.assert_allclose(coverage.gains(), expected, rtol=1e-3, atol=1e-3)


def test_more_than_one_piece_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Coverage(vectors(11, 0))
    expected.see(vectors(3, 1))
    monkeypatch.setattr("activefreq.acselect.coverage._ROWS", 4)
    found = Coverage(vectors(11, 0))
    found.see(vectors(3, 1))
    np.testing.assert_allclose(found.gains(), expected.gains(), atol=1e-5)


def test_a_labelled_image_has_nothing_to_gain() -> None:
    images = vectors(6, 0)
    coverage = Coverage(images)
    coverage.see(images[2:3])
    gains = coverage.gains()
    assert gains[2] == pytest.approx(0.0, abs=1e-5)
    assert (np.delete(gains, 2) > 0.01).all()


def test_a_group_without_a_label_gains_more_than_a_freak() -> None:
    """What the farthest image first would get wrong."""
    generator = np.random.default_rng(0)
    known, group = generator.normal(0, 0.1, (20, 2)), generator.normal((3.0, 0.0), 0.1, (20, 2))
    images = np.concatenate([known, group, [[0.0, 6.0]]])
    coverage = Coverage(images)
    coverage.see(known[:1])
    assert 20 <= int(np.argmax(coverage.gains())) < 40
    coverage.see(group[:1])
    assert int(np.argmax(coverage.gains())) == 40


def test_at_first_the_most_central_image_gains_most() -> None:
    line = np.arange(7, dtype=np.float32)[:, None]
    assert int(np.argmax(Coverage(line).gains())) == 3


def test_what_is_seen_once_leaves_no_trace() -> None:
    images = vectors(6, 0)
    coverage = Coverage(images)
    coverage.see(vectors(2, 1))
    before = coverage.gains()
    with_one = coverage.gains(images[:1])
    assert with_one[0] == pytest.approx(0.0, abs=1e-5)
    assert (with_one <= before + 1e-6).all()
    np.testing.assert_array_equal(coverage.gains(), before)


def test_no_embedding_is_not_known_and_stands_for_nothing() -> None:
    images = vectors(5, 0)
    without = np.delete(images, 1, axis=0)
    images[1] = np.nan
    coverage, expected = Coverage(images), Coverage(without)
    coverage.see(np.full((2, 5), np.nan))
    assert np.isnan(coverage.gains()).tolist() == [False, True, False, False, False]
    np.testing.assert_allclose(np.delete(coverage.gains(), 1), expected.gains(), rtol=1e-5)
    assert np.isnan(Coverage(np.full((2, 5), np.nan)).gains()).all()
    assert Coverage(np.empty((0, 5))).gains().shape == (0,)


def test_some_images_stand_for_all_and_which_does_not_depend_on_when_they_came() -> None:
    images = vectors(60, 0)
    at_once = Coverage(images, references=20)
    one_by_one = Coverage(images[:1], references=20)
    for number, image in enumerate(images[1:]):
        one_by_one.add(image[None])
        if number % 7 == 0:
            one_by_one.gains()
    for coverage in (at_once, one_by_one):
        coverage.see(vectors(2, 1))
    np.testing.assert_allclose(one_by_one.gains(), at_once.gains(), rtol=1e-5)
    full = Coverage(images)
    full.see(vectors(2, 1))
    assert np.corrcoef(at_once.gains(), full.gains())[0, 1] > 0.8


def test_embeddings_of_another_length_are_refused() -> None:
    with pytest.raises(InputError, match="length 5"):
        Coverage(vectors(3, 0)).see(np.zeros((2, 4)))
    with pytest.raises(InputError, match="shape"):
        Coverage(np.zeros(4))


def test_a_volumes_embedding_is_that_of_its_object() -> None:
    slices = [np.array([1.0, 0.0]), np.array([0.0, 1.0])]
    assert mean_embedding(slices, [3.0, 1.0]).tolist() == [0.75, 0.25]
    assert mean_embedding(slices, [0.0, 0.0]).tolist() == [0.5, 0.5]
    assert mean_embedding(slices, [3.0, 1.0]).dtype == np.float32
