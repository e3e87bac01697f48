"""What the strategies go by, kept in memory between two requests."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Sequence

import numpy as np

from activefreq.acselect.coverage import Coverage
from activefreq.acselect.strategies import Pool
from lib.active_store import ActiveStore, StoredEmbedding


class Outlook:
    """What is known of the images of one folder; may be used from several threads.

    Only what was saved, and who was given or has labelled what since the last request, is looked at again: a request
    costs milliseconds with 20,000 images.

    Args:
        store: Where scores and embeddings are kept.
    """

    def __init__(self, store: ActiveStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._last = 0
        self._space: _Space | None = None
        self._next: _Space | None = None

    def pool(self, waiting: Sequence[str], labelled: Iterable[str], client: str, there: Iterable[str]) -> Pool:
        """What is known of the waiting images.

        Args:
            waiting: Ids of the images without a label.
            labelled: Ids of images with a label.
            client: Who asks: what others were given counts as labelled.
            there: Ids of all images: what is known of those that were removed does not count.
        """
        scores = self._store.scores()
        with_others = [image for image, holder in self._store.reserved().items() if holder != client]
        with self._lock:
            self._read()
            # The old model's embeddings serve until the new one has looked at half of the images.
            if self._space and self._next and 2 * self._next.count(waiting) >= self._space.count(waiting):
                self._space, self._next = self._next, None
            gains = np.full(len(waiting), np.nan)
            if self._space is not None:
                self._space.keep(there)
                gains = self._space.gains(waiting, labelled, with_others)
        return Pool([scores[image].score if image in scores else None for image in waiting], gains)

    def _read(self) -> None:
        """Takes note of embeddings that were saved since the last time."""
        new = self._store.embeddings(after=self._last)
        for version, group in itertools.groupby(new, key=lambda one: one.version):
            ones = list(group)
            if self._space is None or self._space.version == version:
                self._space = self._space or _Space(version)
                self._space.add(ones)
                continue
            # Embeddings of two models do not mix.
            if self._next is None or self._next.version != version:
                self._next = _Space(version)
            self._next.add(ones)
        if new:
            self._last = new[-1].number


class Outlooks:
    """The outlooks of stores, made when they are first asked for; strategies share them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outlooks: dict[ActiveStore, Outlook] = {}

    def of(self, store: ActiveStore) -> Outlook:
        with self._lock:
            return self._outlooks.setdefault(store, Outlook(store))


class _Space:
    """Embeddings of one version of the model."""

    def __init__(self, version: str) -> None:
        self.version = version
        self._vectors: dict[str, np.ndarray] = {}
        self._gone: frozenset[str] = frozenset()
        self._rows: dict[str, int] = {}
        self._coverage: Coverage | None = None
        self._seen: frozenset[str] = frozenset()

    def count(self, images: Sequence[str]) -> int:
        """How many of the images have an embedding here."""
        return sum(image in self._vectors for image in images)

    def add(self, embeddings: Sequence[StoredEmbedding]) -> None:
        new = {one.image: one.vector for one in embeddings}
        changed = not self._vectors.keys().isdisjoint(new)
        self._vectors.update(new)
        if self._coverage is None or changed:
            self._begin()
            return
        self._rows.update(zip(new, itertools.count(len(self._rows)), strict=False))
        self._coverage.add(np.stack([*new.values()]))

    def keep(self, there: Iterable[str]) -> None:
        """Leaves out the images that are not there; those that come back count again."""
        gone = frozenset(self._vectors.keys() - set(there))
        if gone != self._gone:
            self._gone = gone
            self._begin()

    def _begin(self) -> None:
        kept = [image for image in self._vectors if image not in self._gone]
        self._rows = {image: row for row, image in enumerate(kept)}
        # One more, which is cut off: there may be none.
        vectors = [self._vectors[image] for image in (*kept, next(iter(self._vectors)))]
        self._coverage = Coverage(np.stack(vectors)[:-1])
        self._seen = frozenset()

    def gains(self, waiting: Sequence[str], labelled: Iterable[str], with_others: Sequence[str]) -> np.ndarray:
        """(N,) of the waiting images."""
        seen = frozenset(image for image in labelled if image in self._rows)
        if not self._seen <= seen:
            # A label was removed, and what it alone stood for has none again.
            self._begin()
        assert self._coverage is not None
        if seen != self._seen:
            self._coverage.see(np.stack([self._vectors[image] for image in sorted(seen - self._seen)]))
            self._seen = seen
        also = [self._vectors[image] for image in with_others if image in self._rows]
        gains = self._coverage.gains(np.stack(also) if also else None)
        # The last place is for images without an embedding.
        rows = np.fromiter((self._rows.get(image, -1) for image in waiting), np.intp, len(waiting))
        return np.append(gains, np.nan)[rows]
