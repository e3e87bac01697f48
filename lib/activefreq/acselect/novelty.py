"""How unlike an image is to those that were labelled, by the model's own features.

The images that a model doubts most are often alike: labelling one of them settles the others. So a strategy looks at
what is labelled already, and at what others are labelling at the moment.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from activefreq.errors import InputError

_ROWS = 2048


class Novelty:
    """Distances of images to the nearest one that was seen; grows with both, at no cost for what was there before.

    Args:
        vectors: (N, D), the images' embeddings (`automatic_answer`); of NaN where there is none.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors = np.asarray(vectors, np.float32)
        if self._vectors.ndim != 2:
            raise InputError(f"embeddings of shape (N, D) are needed, not {self._vectors.shape}")
        self._seen = self._vectors[:0]
        self._unknown = np.isnan(self._vectors).any(axis=1)
        self._nearest = np.full(len(self._vectors), np.inf, np.float32)

    def add(self, vectors: np.ndarray) -> None:
        """Appends images, (K, D)."""
        vectors = self._checked(vectors)
        self._vectors = np.concatenate([self._vectors, vectors])
        self._unknown = np.concatenate([self._unknown, np.isnan(vectors).any(axis=1)])
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

    def distances(self, also: np.ndarray | None = None) -> np.ndarray:
        """Euclidean distances to the nearest image seen.

        Args:
            also: (M, D), embeddings of images that count as seen this time only.

        Returns:
            (N,) float64; inf if nothing was seen, NaN for an image without an embedding.
        """
        nearest = self._nearest
        if also is not None:
            nearest = np.minimum(nearest, _nearest(self._vectors, self._checked(also)))
        return np.where(self._unknown, np.nan, np.sqrt(nearest.astype(np.float64)))

    def _checked(self, vectors: np.ndarray) -> np.ndarray:
        vectors = np.asarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self._vectors.shape[1]:
            raise InputError(f"embeddings of length {self._vectors.shape[1]} are needed, not {vectors.shape}")
        return vectors


def _nearest(vectors: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(N,) float32, the least squared distances of (N, D) to (M, D); inf where there is none."""
    found = np.full(len(vectors), np.inf, np.float32)
    seen = seen[~np.isnan(seen).any(axis=1)]
    if not len(seen):
        return found
    squares = np.einsum("md,md->m", seen, seen)
    # In pieces: the matrix of all distances may be large.
    for first in range(0, len(vectors), _ROWS):
        part = vectors[first : first + _ROWS]
        least = (squares - 2.0 * (part @ seen.T)).min(axis=1) + np.einsum("nd,nd->n", part, part)
        found[first : first + _ROWS] = np.maximum(least, 0.0)
    return found


def mean_embedding(vectors: Sequence[np.ndarray], sizes: Sequence[float]) -> np.ndarray:
    """The embedding of a volume: the mean of its slices', each by how much of the object it holds.

    Args:
        vectors: One (D,) for each slice, at least one.
        sizes: Of the object in each slice (`SliceMeasure.size`).
    """
    weights = np.asarray(sizes, np.float64)
    return np.average(np.stack(vectors), axis=0, weights=weights if weights.sum() > 0 else None).astype(np.float32)
