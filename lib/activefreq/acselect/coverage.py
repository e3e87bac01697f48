"""How well the labelled images stand for all of them, by the model's own features, and what one more would add.

The images that a model doubts most are often alike, and those that are least like the labelled ones are often freaks.
So a strategy asks for neither: it asks which image is near many that have nothing labelled near them.

Source: facility location, as in Wei, Iyer and Bilmes, Submodularity in data subset selection and active learning
(ICML 2015).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from activefreq.errors import InputError

_ROWS = 2048


class Coverage:
    """The mean squared distance of images to the nearest labelled one, and how much less it would be with one more.

    That is the objective of k-means and k-medoids; taking the best image each time is its greedy solution. The
    distances of all images to `references` of them are kept: what is asked twice costs milliseconds, however many
    there are.

    Args:
        vectors: (N, D), the images' embeddings (`automatic_answer`); of NaN where there is none.
        references: Images that stand for all; these are drawn once and for all, and all of them if there are not more.
    """

    def __init__(self, vectors: np.ndarray, *, references: int = 256) -> None:
        self._vectors = np.asarray(vectors, np.float32)
        if self._vectors.ndim != 2:
            raise InputError(f"embeddings of shape (N, D) are needed, not {self._vectors.shape}")
        self._most = references
        self._seen = self._vectors[:0]
        self._known = ~np.isnan(self._vectors).any(axis=1)
        self._nearest = np.full(len(self._vectors), np.inf, np.float32)
        self._references = np.zeros(0, np.intp)
        self._squares = np.zeros((0, 0), np.float32)
        self._farthest = np.float32(0.0)

    def add(self, vectors: np.ndarray) -> None:
        """Appends images, (K, D)."""
        vectors = self._checked(vectors)
        self._vectors = np.concatenate([self._vectors, vectors])
        self._known = np.concatenate([self._known, ~np.isnan(vectors).any(axis=1)])
        self._nearest = np.concatenate([self._nearest, _nearest(vectors, self._seen)])

    def see(self, vectors: np.ndarray) -> None:
        """Takes note of labelled images.

        Args:
            vectors: (M, D), their embeddings; those of NaN do not count.

        Raises:
            InputError: They are not as long as the others.
        """
        vectors = self._checked(vectors)
        self._seen = np.concatenate([self._seen, vectors])
        self._nearest = np.minimum(self._nearest, _nearest(self._vectors, vectors))

    def gains(self, also: np.ndarray | None = None) -> np.ndarray:
        """By how much the mean squared distance to the nearest labelled image falls with each image.

        Args:
            also: (M, D), embeddings of images that count as labelled this time only.

        Returns:
            (N,) float64, at least 0; NaN for an image without an embedding. Before any image is labelled all are as far
            away from a label as the two that are farthest from each other: then the most central image gains most.
        """
        self._bring_up_to_date()
        references = self._references
        if not len(references):
            return np.full(len(self._vectors), np.nan)
        nearest = self._nearest
        if also is not None:
            nearest = np.minimum(nearest, _nearest(self._vectors, self._checked(also)))
        nearest = np.minimum(nearest, self._farthest)
        # What has no embedding has no distances, and so no gain.
        savings = nearest[references] - self._squares
        saved = np.maximum(savings, 0.0, out=savings).sum(axis=1).astype(np.float64)
        # An image saves its own distance whether it is a reference or not; the other references stand for the others.
        others = np.full(len(saved), len(references))
        others[references] -= 1
        saved[references] -= nearest[references]
        count = np.count_nonzero(self._known)
        return (nearest + (count - 1) * np.maximum(saved, 0.0) / np.maximum(others, 1)) / count

    def _bring_up_to_date(self) -> None:
        """Computes what is missing of the distances (N, R) to the references."""
        count = len(self._vectors)
        if len(self._squares) == count:
            return
        # The first draws of one stream: the references depend on how many images there are, not on when each came.
        lots = np.random.default_rng(0).random(count)
        lots[~self._known] = np.inf
        references = np.sort(np.argsort(lots, kind="stable")[: min(self._most, np.count_nonzero(self._known))])
        old = self._squares
        if not np.array_equal(references, self._references):
            kept = np.isin(references, self._references)
            old = np.empty((len(self._squares), len(references)), np.float32)
            old[:, kept] = self._squares[:, np.isin(self._references, references)]
            old[:, ~kept] = _squared_distances(self._vectors[: len(old)], self._vectors[references[~kept]])
        new = _squared_distances(self._vectors[len(old) :], self._vectors[references])
        self._references, self._squares = references, np.concatenate([old, new])
        if len(references):
            self._farthest = np.nanmax(self._squares)

    def _checked(self, vectors: np.ndarray) -> np.ndarray:
        vectors = np.asarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self._vectors.shape[1]:
            raise InputError(f"embeddings of length {self._vectors.shape[1]} are needed, not {vectors.shape}")
        return vectors


def _squared_distances(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N, M) float32 of (N, D) and (M, D)."""
    products = np.einsum("nd,nd->n", vectors, vectors)[:, None] + np.einsum("md,md->m", others, others)
    return np.maximum(products - 2.0 * (vectors @ others.T), 0.0)


def _nearest(vectors: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(N,) float32, the least squared distances of (N, D) to (M, D); inf where there is none."""
    found = np.full(len(vectors), np.inf, np.float32)
    seen = seen[~np.isnan(seen).any(axis=1)]
    if not len(seen):
        return found
    # In pieces: the matrix of all distances may be large.
    for first in range(0, len(vectors), _ROWS):
        found[first : first + _ROWS] = _squared_distances(vectors[first : first + _ROWS], seen).min(axis=1)
    return found


def mean_embedding(vectors: Sequence[np.ndarray], sizes: Sequence[float]) -> np.ndarray:
    """The embedding of a volume: the mean of its slices', each by how much of the object it holds.

    Args:
        vectors: One (D,) for each slice, at least one.
        sizes: Of the object in each slice (`SliceMeasure.size`).
    """
    weights = np.asarray(sizes, np.float64)
    return np.average(np.stack(vectors), axis=0, weights=weights if weights.sum() > 0 else None).astype(np.float32)
