from __future__ import annotations

import multiprocessing
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activefreq.acselect.ranking import ImageScore
from lib import active_store
from lib.active_store import FOLDER, RESERVED_SECONDS, ActiveStore, ActiveStores, StoredScore

SCORE = StoredScore("v1", "s1", ImageScore(acselect=0.25, entropy=0.5, foreground=0.125, slice=7))
UNUSABLE = StoredScore("v1", "s1", None, "is no image")


@pytest.fixture
def store(tmp_path: Path) -> ActiveStore:
    return ActiveStore(tmp_path / "active.sqlite")


def ask(store: ActiveStore, values: dict[str, float], client: str = "", now: float = 0.0) -> str | None:
    return store.next_image(list(values), np.array(list(values.values())), client, now=lambda: now)


def test_scores_come_back_as_they_were(store: ActiveStore, tmp_path: Path) -> None:
    store.save("a", SCORE)
    store.save("b", UNUSABLE)
    store.save("b", SCORE)
    store.save("c", UNUSABLE)
    expected = {"a": SCORE, "b": SCORE, "c": UNUSABLE}
    assert store.scores() == expected
    store.close()
    assert ActiveStore(tmp_path / "active.sqlite").scores() == expected


def test_sees_what_another_connection_saved(store: ActiveStore, tmp_path: Path) -> None:
    assert store.scores() == {}
    other = ActiveStore(tmp_path / "active.sqlite")
    other.save("a", SCORE)
    assert store.scores() == {"a": SCORE}


def test_embeddings_come_back_in_the_order_in_which_they_were_saved(store: ActiveStore, tmp_path: Path) -> None:
    for number, image in enumerate("abc"):
        store.save(image, SCORE, np.array([number, 0.5]))
    first = store.embeddings()
    assert [(one.image, one.version, one.vector.tolist()) for one in first] == [
        ("a", "v1", [0.0, 0.5]),
        ("b", "v1", [1.0, 0.5]),
        ("c", "v1", [2.0, 0.5]),
    ]
    other = ActiveStore(tmp_path / "active.sqlite")
    other.save("c", SCORE, np.array([7.0, 0.5]))
    assert [(one.image, one.vector[0]) for one in store.embeddings(after=first[-1].number)] == [("c", 7.0)]
    # An image that cannot be used any more has none.
    other.save("a", UNUSABLE)
    assert [one.image for one in store.embeddings()] == ["b", "c"]


def test_what_is_with_somebody(store: ActiveStore) -> None:
    values = {"a": 0.9, "b": 0.5, "c": 0.1}
    ask(store, values, "anna")
    ask(store, values, "bert")
    assert store.reserved(now=lambda: 0.0) == {"a": "anna", "b": "bert"}
    ask(store, values, "anna")
    assert store.reserved(now=lambda: 0.0) == {"c": "anna", "b": "bert"}
    assert store.reserved(now=lambda: RESERVED_SECONDS + 1) == {}


def test_scores_of_a_file_without_embeddings_are_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "active.sqlite"
    store = ActiveStore(path)
    store.save("a", SCORE)
    assert ask(store, {"a": 0.9, "b": 0.5}, "anna") == "a"
    store._connection.execute("PRAGMA user_version = 0")
    store.close()
    again = ActiveStore(path)
    assert again.scores() == {}
    # Turns are kept.
    assert ask(again, {"a": 0.9, "b": 0.5}, "bert") == "b"


def test_problems_that_may_have_been_an_outage_are_forgotten_and_scores_kept(tmp_path: Path) -> None:
    path = tmp_path / "active.sqlite"
    store = ActiveStore(path)
    store.save("a", SCORE)
    store.save("b", UNUSABLE)
    store._connection.execute("PRAGMA user_version = 1")
    store.close()
    again = ActiveStore(path)
    assert again.scores() == {"a": SCORE}
    again.save("b", UNUSABLE)
    again.close()
    assert ActiveStore(path).scores() == {"a": SCORE, "b": UNUSABLE}


def _save_many(path: Path, prefix: str) -> None:
    store = ActiveStore(path)
    for number in range(40):
        store.save(f"{prefix}{number}", SCORE)


def test_processes_that_write_at_once_lose_nothing(store: ActiveStore, tmp_path: Path) -> None:
    """The datastore file of MONAI Label, rewritten whole by each, does."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_save_many, args=(tmp_path / "active.sqlite", prefix)) for prefix in "xy"]
    for process in processes:
        process.start()
    given_out = [ask(store, {f"i{number}": 0.0}) for number in range(20)]
    for process in processes:
        process.join()
    assert given_out == [f"i{number}" for number in range(20)]
    assert set(store.scores()) == {f"{prefix}{number}" for prefix in "xy" for number in range(40)}


def test_the_highest_value_is_next_and_a_skipped_image_comes_last(store: ActiveStore) -> None:
    values = {"low": 0.1, "high": 0.9, "middle": 0.5}
    assert [ask(store, values) for _ in range(3)] == ["high", "middle", "low"]
    # All were skipped: now the one that was skipped first.
    assert [ask(store, values) for _ in range(2)] == ["high", "middle"]


def test_a_labelled_image_does_not_count_as_skipped(store: ActiveStore) -> None:
    assert ask(store, {"a": 0.9, "b": 0.1}) == "a"
    assert ask(store, {"b": 0.1, "c": 0.0}) == "b"
    # The label of a was deleted: it waits again, with its old turn.
    assert ask(store, {"a": 0.9, "b": 0.1, "c": 0.0}) == "a"


def test_two_people_never_get_one_image(store: ActiveStore) -> None:
    values = {"a": 0.9, "b": 0.5, "c": 0.1}
    assert ask(store, values, "anna") == "a"
    assert ask(store, values, "bert") == "b"
    assert ask(store, values, "anna") == "c"
    assert ask(store, values, "carl") == "a"
    assert ask(store, {"c": 0.1, "b": 0.5}, "dora") is None


def test_a_reservation_ends(store: ActiveStore) -> None:
    assert ask(store, {"a": 0.9}, "anna", now=100.0) == "a"
    assert ask(store, {"a": 0.9}, "bert", now=99.0 + RESERVED_SECONDS) is None
    assert ask(store, {"a": 0.9}, "bert", now=101.0 + RESERVED_SECONDS) == "a"


def test_turns_outlive_the_server(store: ActiveStore, tmp_path: Path) -> None:
    assert ask(store, {"a": 0.9, "b": 0.5}, "anna") == "a"
    store.close()
    again = ActiveStore(tmp_path / "active.sqlite")
    assert ask(again, {"a": 0.9, "b": 0.5}, "bert") == "b"
    assert ask(again, {"a": 0.9, "b": 0.5, "c": 0.0}, "anna") == "c"


def test_what_cannot_be_read_comes_after_all_others(store: ActiveStore) -> None:
    store.save("broken", UNUSABLE)
    values = {"broken": float("nan"), "a": 0.1, "b": 0.2}
    assert ask(store, values) == "b"
    assert ask(store, values) == "a"
    assert ask(store, values) == "b"
    assert ask(store, {"broken": float("nan")}) == "broken"


def test_nothing_waits(store: ActiveStore) -> None:
    assert ask(store, {}) is None


@given(st.lists(st.one_of(st.just(float("nan")), st.floats(0, 1)), min_size=1, max_size=12), st.integers(1, 3))
def test_everyone_who_skips_sees_every_image_once_before_any_twice(values: list[float], people: int) -> None:
    store = ActiveStore(Path(":memory:"))
    waiting = {str(number): value for number, value in enumerate(values)}
    seen = [ask(store, waiting, str(turn % people)) for turn in range(len(waiting))]
    known = [image for image in seen if image is not None]
    if people == 1:
        assert sorted(known) == sorted(waiting)
    assert len(set(known)) == len(known)


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "active.sqlite"
    path.write_bytes(b"this is no database, whatever its name says" * 50)
    store = ActiveStore(path)
    store.save("a", SCORE)
    assert store.scores() == {"a": SCORE}


def test_a_folder_has_one_store(tmp_path: Path) -> None:
    stores = ActiveStores()
    assert stores.of(tmp_path) is stores.of(tmp_path)
    assert stores.of(tmp_path).path.parent == tmp_path / FOLDER


def test_a_folder_that_cannot_be_written_to_has_its_store_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    studies = tmp_path / "studies"
    studies.mkdir()
    (studies / FOLDER).write_text("in the way")
    store = ActiveStores().of(studies)
    assert store.path.is_relative_to(tmp_path / "cache")
    store.save("a", SCORE)
    assert store.scores() == {"a": SCORE}


def test_a_folder_whose_database_is_locked_has_its_store_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(active_store, "BUSY_SECONDS", 0.05)
    (tmp_path / FOLDER).mkdir()
    other = sqlite3.connect(tmp_path / FOLDER / "active.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    store = ActiveStores().of(tmp_path)
    assert store.path.is_relative_to(tmp_path / "cache")
    assert "locked" in caplog.text
    store.save("a", SCORE)
    assert store.scores() == {"a": SCORE}
    # Nor is there any other place.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / FOLDER / "active.sqlite"))
    with pytest.raises(OSError, match=r"active\.sqlite"):
        ActiveStores().of(tmp_path)
    other.close()


@pytest.mark.parametrize("whole", [False, True])
def test_a_store_that_was_deleted_begins_anew(tmp_path: Path, whole: bool) -> None:
    stores = ActiveStores()
    stores.of(tmp_path).save("a", SCORE)
    if whole:
        shutil.rmtree(tmp_path / FOLDER)
    else:
        stores.of(tmp_path).path.unlink()
    assert stores.of(tmp_path).scores() == {}
    stores.of(tmp_path).save("b", SCORE)
    assert ActiveStores().of(tmp_path).scores() == {"b": SCORE}


def test_a_file_that_is_damaged_further_on_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "active.sqlite"
    store = ActiveStore(path)
    for number in range(300):
        store.save(f"image {number}", SCORE, np.full(64, number, np.float32))
    store.close()
    content = bytearray(path.read_bytes())
    content[8192:40_000] = b"x" * (40_000 - 8192)
    path.write_bytes(content)
    store = ActiveStore(path)
    assert store.scores() == {}
    store.save("a", SCORE)
    assert store.scores() == {"a": SCORE}


def test_what_could_not_be_committed_does_not_hinder_what_comes_after(tmp_path: Path) -> None:
    path = tmp_path / "active.sqlite"
    store = ActiveStore(path)
    store._connection.execute("PRAGMA busy_timeout = 50")
    store.save("a", SCORE)
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM scores").fetchone() == (1,)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        store.save("b", SCORE)
    reader.close()
    store.save("c", SCORE)
    assert set(store.scores()) == {"a", "c"}
