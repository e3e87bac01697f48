"""What active learning remembers of the images: scores, embeddings, and who was given which image when.

It lies in an SQLite file beside the studies, not in MONAI Label's datastore file: that one is rewritten whole at every
change, by the server and by the scoring process alike, and a score would be lost whenever the two meet.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from activefreq.acselect.ranking import ImageScore
from activefreq.acselect.turns import behind, due_numbers

logger = logging.getLogger(__name__)

FOLDER = ".activefreq"
NAME = "active.sqlite"
BUSY_SECONDS = 30.0
"""How long to wait for another process that writes."""

RESERVED_SECONDS = 3600.0
"""How long an image is kept for the one who was given it."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS scores (
    number INTEGER PRIMARY KEY AUTOINCREMENT, image TEXT NOT NULL UNIQUE, version TEXT NOT NULL, stamp TEXT NOT NULL,
    acselect REAL, entropy REAL, foreground REAL, slice INTEGER, problem TEXT
);
CREATE TABLE IF NOT EXISTS embeddings (
    number INTEGER PRIMARY KEY AUTOINCREMENT, image TEXT NOT NULL UNIQUE, version TEXT NOT NULL, vector BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS turns (
    image TEXT PRIMARY KEY, arrival REAL NOT NULL, client TEXT NOT NULL DEFAULT '', until REAL NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT OR IGNORE INTO counters VALUES ('turn', 0);
"""

_FORMAT = 2
"""Of what scoring writes: scores of an older file than 1 lack their embeddings, and are computed again; the problems in
a file of 1 may be those of a server that was down, and are forgotten."""


@dataclass(frozen=True)
class StoredScore:
    """A score as it was computed.

    Attributes:
        version: Of the model.
        stamp: Of the image's file: another stamp means other pixels.
        score: None if the image could not be used.
        problem: Why not; empty otherwise.
    """

    version: str
    stamp: str
    score: ImageScore | None
    problem: str = ""


@dataclass(frozen=True, eq=False)
class StoredEmbedding:
    """An embedding as it was computed.

    Attributes:
        number: Of embeddings that were saved, a later one has a higher number.
        image: Id.
        version: Of the model: embeddings of different versions cannot be compared.
        vector: (D,) float32.
    """

    number: int
    image: str
    version: str
    vector: np.ndarray


class ActiveStore:
    """Scores, embeddings and turns of one folder of studies; may be used by several threads and processes.

    All of it can be computed or told again: a damaged file is thrown away.

    Args:
        path: The SQLite file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        try:
            self._connection = _connect(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            logger.warning("%s is damaged (%s): scores and turns begin anew", path, error)
            path.unlink()
            self._connection = _connect(path)
        self._scores: dict[str, StoredScore] = {}
        self._last = 0

    def scores(self) -> dict[str, StoredScore]:
        """All scores by image id; not to be changed."""
        with self._lock:
            # What was saved since, here or in another process: a score that is replaced has a new number.
            rows = self._connection.execute("SELECT * FROM scores WHERE number > ? ORDER BY number", (self._last,))
            new = rows.fetchall()
            if new:
                self._scores = self._scores | {row[1]: _stored(row) for row in new}
                self._last = new[-1][0]
            return self._scores

    def embeddings(self, *, after: int = 0) -> list[StoredEmbedding]:
        """Embeddings with a number above `after`, by their number: what was saved since one last looked."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT number, image, version, vector FROM embeddings WHERE number > ? ORDER BY number", (after,)
            ).fetchall()
        return [
            StoredEmbedding(number, image, version, np.frombuffer(vector, "<f4"))
            for number, image, version, vector in rows
        ]

    def reserved(self, *, now: Callable[[], float] = time.time) -> dict[str, str]:
        """Images that somebody was given and has not given back, each with its client."""
        with self._lock:
            return dict(self._connection.execute("SELECT image, client FROM turns WHERE until > ?", (now(),)))

    def save(self, image: str, stored: StoredScore, embedding: np.ndarray | None = None) -> None:
        """Keeps the score and the embedding of an image, in place of those before.

        Args:
            image: Id.
            stored: Its score.
            embedding: (D,), the model's; None if the image could not be used.
        """
        score = stored.score
        values = (score.acselect, score.entropy, score.foreground, score.slice) if score else (None,) * 4
        with self._transaction() as cursor:
            cursor.execute(
                "INSERT OR REPLACE INTO scores (image, version, stamp, acselect, entropy, foreground, slice, problem) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (image, stored.version, stored.stamp, *values, stored.problem or None),
            )
            cursor.execute(
                "INSERT OR IGNORE INTO turns (image, arrival) SELECT ?, value FROM counters WHERE name = 'turn'",
                (image,),
            )
            cursor.execute("DELETE FROM embeddings WHERE image = ?", (image,))
            if embedding is not None:
                cursor.execute(
                    "INSERT INTO embeddings (image, version, vector) VALUES (?, ?, ?)",
                    (image, stored.version, np.asarray(embedding, "<f4").tobytes()),
                )

    def next_image(
        self, waiting: Sequence[str], values: np.ndarray, client: str, *, now: Callable[[], float] = time.time
    ) -> str | None:
        """Chooses one of the waiting images and reserves it for the client.

        What the client was given before and still waits counts as skipped, and goes behind the others. What others were
        given is left out until their reservation ends. Images that could not be read come last.

        Args:
            waiting: Ids of the images without a label.
            values: (N,) value of each, the highest first; NaN where it is not known.
            client: Who asks; people who give no name are one client.
            now: The clock, in seconds.

        Returns:
            An id; None if nothing waits, or all that waits is reserved for others.
        """
        time_now = now()
        with self._transaction() as cursor:
            (turn,) = cursor.execute(
                "UPDATE counters SET value = value + 1 WHERE name = 'turn' RETURNING value"
            ).fetchone()
            rows: dict[str, tuple[float, str, float]] = {
                image: (arrival, holder, until)
                for image, arrival, holder, until in cursor.execute("SELECT image, arrival, client, until FROM turns")
            }
            new = [image for image in waiting if image not in rows]
            cursor.executemany("INSERT INTO turns (image, arrival) VALUES (?, ?)", [(image, turn) for image in new])
            rows.update(dict.fromkeys(new, (float(turn), "", 0.0)))
            states = [rows[image] for image in waiting]
            arrivals = np.array([arrival for arrival, _, _ in states])
            skipped = np.array([until > 0 and holder == client for _, holder, until in states], bool)
            arrivals[skipped] = behind(arrivals[~skipped])
            # What the client labelled meanwhile is free as well, should its label be removed.
            cursor.execute("UPDATE turns SET client = '', until = 0 WHERE client = ? AND until > 0", (client,))
            cursor.executemany(
                "UPDATE turns SET arrival = ? WHERE image = ?",
                [(arrivals[index], waiting[index]) for index in np.flatnonzero(skipped)],
            )
            scores = self.scores()
            free = np.array([not (until > time_now and holder != client) for _, holder, until in states], bool)
            if not free.any():
                return None
            due = due_numbers(values, arrivals)
            last = np.array([image in scores and scores[image].score is None for image in waiting], bool)
            order = np.lexsort((due, last, ~free))
            chosen = waiting[int(order[0])]
            cursor.execute(
                "UPDATE turns SET client = ?, until = ? WHERE image = ?", (client, time_now + RESERVED_SECONDS, chosen)
            )
            return chosen

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with self._lock:
            cursor = self._connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                # A full disk may have ended it already.
                if self._connection.in_transaction:
                    cursor.execute("ROLLBACK")
                raise


class ActiveStores:
    """The stores of folders, opened when they are first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stores: dict[Path, ActiveStore] = {}

    def of(self, folder: Path) -> ActiveStore:
        """The store of a folder of studies: in the folder, or in the user's cache if that cannot be.

        One whose file was deleted begins anew.

        Raises:
            sqlite3.Error: There can be none in either place; also `OSError`.
        """
        with self._lock:
            store = self._stores.get(folder)
            if store is None or _is_deleted(store.path):
                store = self._stores[folder] = _open(folder)
            return store


def _is_deleted(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _open(folder: Path) -> ActiveStore:
    place = folder / FOLDER
    try:
        place.mkdir(exist_ok=True)
        if os.access(place, os.W_OK):
            return ActiveStore(place / NAME)
        reason = "no permission"
    except (OSError, sqlite3.Error) as error:
        # Such as of a database that another program locks, or on a share without locks.
        reason = str(error)
    logger.warning("%s cannot be written to (%s): scores and turns are kept in the user's cache", place, reason)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    place = cache / "activefreq" / hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    place.mkdir(parents=True, exist_ok=True)
    return ActiveStore(place / NAME)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        (sound,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if sound != "ok":
            raise sqlite3.DatabaseError(sound)
        written = connection.execute("PRAGMA user_version").fetchone()[0]
        if written not in (1, _FORMAT):
            connection.executescript("DROP TABLE IF EXISTS scores;")
        connection.executescript(_SCHEMA)
        if written != _FORMAT:
            connection.executescript(f"DELETE FROM scores WHERE problem IS NOT NULL; PRAGMA user_version = {_FORMAT};")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _stored(row: tuple) -> StoredScore:
    _, _, version, stamp, acselect, entropy, foreground, number, problem = row
    score = None if problem else ImageScore(acselect, entropy, foreground, number)
    return StoredScore(version, stamp, score, problem or "")
