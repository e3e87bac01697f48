from __future__ import annotations

import errno
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from fastapi import HTTPException
from monailabel.utils.async_tasks import utils
from PIL import Image
from pydicom.errors import InvalidDicomError
from tiny import make_tiny_model

from activefreq.acselect.ranking import ImageScore, measure_slice
from activefreq.acselect.strategies import STRATEGIES
from activefreq.errors import CheckpointError
from activefreq.files import raster
from activefreq.files.volumes import read_volume
from activefreq.models.checkpoint import Checkpoint, save_checkpoint
from activefreq.models.interactive import InteractiveModel
from activefreq.session.automatic import automatic_answer, automatic_probability
from activefreq.session.state import prepare_image
from lib.active_store import ActiveStores, StoredScore
from lib.background import Pace
from lib.labelled import labelled_sample
from lib.outlook import Outlooks
from lib.scoring import acselect, demand, make_scoring_methods
from lib.scoring.demand import RETRY_SECONDS, ScoringDemand
from lib.served_model import ServedModel
from lib.strategies import make_strategies
from lib.studies import StudiesFolder


class Parts:
    """The parts of the app that learn actively, without a server."""

    def __init__(self, studies: Path, checkpoint: Path) -> None:
        self.datastore = StudiesFolder(str(studies), auto_reload=False)
        self.stores = ActiveStores()
        self.model = ServedModel(str(checkpoint), device="cpu", cache_bytes=1 << 20)
        self.clock = 0.0
        self.demand = ScoringDemand(self.model, self.stores, now=lambda: self.clock)
        self.outlook = Outlooks().of(self.stores.of(studies))
        self._scoring = make_scoring_methods(self.model, self.stores, share=1.0)["acselect"]
        self._strategies = make_strategies(self.stores)
        self.store = self.stores.of(studies)

    def score(self) -> dict[str, Any]:
        return self._scoring({"method": "acselect"}, self.datastore)

    def label(self, *images: str) -> None:
        """Saves a label of each image."""
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder, "label.nrrd"))
            sitk.WriteImage(sitk.GetImageFromArray(np.ones((1, 4, 4), np.uint8)), path)
            for image in images:
                self.datastore.save_label(image, path, "final", {})

    def gains(self, client: str = "") -> dict[str, float]:
        """Of the waiting images."""
        waiting = self.datastore.get_unlabeled_images()
        pool = self.outlook.pool(waiting, labelled_sample(self.datastore), client, self.datastore.list_images())
        return dict(zip(waiting, pool.gains.tolist(), strict=True))

    def embedding(self, image: str) -> np.ndarray:
        return next(one.vector for one in self.store.embeddings() if one.image == image)

    def next(self, strategy: str, client: str = "") -> Any:
        return self._strategies[strategy]({"strategy": strategy, "client_id": client}, self.datastore)


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    folder = tmp_path / "studies"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, (30 + 9 * number, 40, 3), np.uint8)).save(folder / f"picture{number}.png")
    volume = rng.normal(size=(6, 24, 20)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(volume), str(folder / "volume.nii.gz"))
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "model.pt"
    save_checkpoint(path, Checkpoint(make_tiny_model(seed=1)))
    return path


@pytest.fixture
def parts(studies: Path, checkpoint: Path) -> Parts:
    return Parts(studies, checkpoint)


def test_scores_are_those_of_the_library(parts: Parts, studies: Path) -> None:
    parts.score()
    scores = parts.store.scores()
    assert set(scores) == {"picture0", "picture1", "picture2", "volume", "broken"}
    model = parts.model.current().segmenter.model
    image = read_volume(studies / "picture1.png").array[0]
    measure = measure_slice(automatic_probability(model, prepare_image(image)))
    assert scores["picture1"].score == ImageScore(measure.score, measure.entropy, measure.foreground, 0)
    slices = read_volume(studies / "volume.nii.gz").array
    doubts = [measure_slice(automatic_probability(model, prepare_image(one))).doubt for one in slices]
    assert scores["volume"].score is not None
    assert scores["volume"].score.slice == int(np.argmax(doubts))
    assert scores["broken"].score is None
    assert "broken.png" in scores["broken"].problem


def test_only_what_is_new_or_changed_is_scored(parts: Parts, studies: Path) -> None:
    assert parts.score() | {"seconds": 0} == {"scored": 5, "unusable": 1, "kept": 0, "left": 0, "seconds": 0}
    assert parts.score() | {"seconds": 0} == {"scored": 0, "unusable": 0, "kept": 5, "left": 0, "seconds": 0}
    Image.new("RGB", (20, 20), "red").save(studies / "new.png")
    Image.new("RGB", (50, 60), "red").save(studies / "picture0.png")
    parts.datastore.refresh()
    assert parts.score() | {"seconds": 0} == {"scored": 2, "unusable": 0, "kept": 4, "left": 0, "seconds": 0}


def test_what_cannot_be_had_at_present_keeps_its_score_and_is_looked_at_again(
    parts: Parts, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = parts.datastore.get_image_uri

    def arriving(image: str) -> str:
        if image in ("picture0", "picture1"):
            raise HTTPException(503, "still arriving")
        return uri(image)

    with monkeypatch.context() as patch:
        patch.setattr(parts.datastore, "get_image_uri", arriving)
        assert parts.score()["scored"] == 3
        assert not {"picture0", "picture1"} & set(parts.store.scores())
    assert parts.score() | {"seconds": 0} == {"scored": 2, "unusable": 0, "kept": 3, "left": 0, "seconds": 0}
    before = parts.store.scores()
    monkeypatch.setattr(parts.datastore, "get_image_uri", arriving)
    assert parts.score()["scored"] == 0
    assert parts.store.scores() == before


def test_a_new_model_scores_all_again(parts: Parts, checkpoint: Path) -> None:
    parts.score()
    before = parts.store.scores()
    save_checkpoint(checkpoint, Checkpoint(make_tiny_model(seed=2)))
    assert parts.score()["scored"] == 5
    after = parts.store.scores()
    assert before["picture0"].version != after["picture0"].version == parts.model.version
    assert before["picture0"].score != after["picture0"].score


def test_scores_do_not_pass_through_the_datastores_file(parts: Parts, studies: Path) -> None:
    """A server that keeps an older copy of that file in memory cannot write them away."""
    parts.score()
    other = StudiesFolder(str(studies), auto_reload=False)
    other.update_image_info("picture0", {"note": "mine"})
    assert parts.next("acselect_score")["score"] == round(
        max(one.score.acselect for one in parts.store.scores().values() if one.score), 6
    )


def test_the_next_image_is_the_most_doubtful_and_says_its_slice(parts: Parts) -> None:
    parts.score()
    scores = {image: one.score for image, one in parts.store.scores().items() if one.score}
    expected = sorted(scores, key=lambda image: -scores[image].acselect)
    answers = [parts.next("acselect_score") for _ in range(4)]
    assert [answer["id"] for answer in answers] == expected
    assert all(answer["slice"] == scores[answer["id"]].slice for answer in answers)
    assert {answer["waiting"] for answer in answers} == {5}


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_strategy_gives_each_image_once_before_any_twice(parts: Parts, strategy: str) -> None:
    parts.score()
    seen = [parts.next(strategy)["id"] for _ in range(4)]
    assert sorted(seen) == ["picture0", "picture1", "picture2", "volume"]


def test_an_unreadable_image_is_served_last_and_says_why(parts: Parts) -> None:
    parts.score()
    clients = [parts.next("acselect", client) for client in "abcde"]
    assert clients[-1]["id"] == "broken"
    assert "broken.png" in clients[-1]["problem"]
    assert parts.next("acselect", "f") is None


def test_images_are_given_before_anything_is_scored(parts: Parts) -> None:
    answer = parts.next("acselect")
    assert answer["id"] in parts.datastore.list_images()
    assert "score" not in answer


def test_nothing_to_label(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "empty").mkdir()
    parts = Parts(tmp_path / "empty", checkpoint)
    assert parts.next("acselect") is None
    assert parts.score()["scored"] == 0
    assert not parts.demand.is_new(parts.datastore)


def test_everything_labelled(parts: Parts) -> None:
    parts.label(*parts.datastore.list_images())
    assert parts.next("acselect") is None
    assert parts.next("random") is None
    assert parts.score()["scored"] == 0
    assert not parts.demand.is_new(parts.datastore)


def test_embeddings_are_those_of_the_library(parts: Parts, studies: Path) -> None:
    parts.score()
    assert {one.image for one in parts.store.embeddings()} == {"picture0", "picture1", "picture2", "volume"}
    assert {one.version for one in parts.store.embeddings()} == {parts.model.version}
    model = parts.model.current().segmenter.model
    image = read_volume(studies / "picture1.png").array[0]
    expected = automatic_answer(model, prepare_image(image)).embedding
    np.testing.assert_array_equal(parts.embedding("picture1"), expected)
    assert parts.embedding("volume").shape == expected.shape


def expected_gains(parts: Parts, known: Sequence[str], labelled: Sequence[str]) -> dict[str, float]:
    """By how much the mean squared distance of the known images to the nearest labelled one falls with each."""
    vectors = np.stack([parts.embedding(image) for image in known]).astype(np.float64)
    squares = ((vectors[:, None] - vectors[None]) ** 2).sum(2)
    nearest = np.full(len(known), squares.max())
    for image in labelled:
        nearest = np.minimum(nearest, squares[list(known).index(image)])
    saved = np.maximum(nearest[:, None] - squares, 0).mean(0)
    return dict(zip(known, saved.tolist(), strict=True))


KNOWN = ("picture0", "picture1", "picture2", "volume")


def test_what_is_labelled_and_what_others_label_needs_no_other_label(parts: Parts) -> None:
    parts.score()
    gains = parts.gains()
    assert np.isnan(gains.pop("broken"))
    assert gains == pytest.approx(expected_gains(parts, KNOWN, ()), abs=1e-4)
    parts.label("picture0")
    expected = expected_gains(parts, KNOWN, ("picture0",))
    waiting = set(parts.gains()) - {"broken"}
    assert waiting == set(KNOWN) - {"picture0"}
    given_to_anna = parts.next("acselect", "anna")["id"]
    for_bert = expected_gains(parts, KNOWN, ("picture0", given_to_anna))
    for image in waiting - {given_to_anna}:
        assert parts.gains("bert")[image] == pytest.approx(for_bert[image], abs=1e-4)
        assert parts.gains("anna")[image] == pytest.approx(expected[image], abs=1e-4)
    parts.datastore.remove_label("picture0", "final")
    assert parts.gains("anna")["picture1"] == pytest.approx(gains["picture1"], abs=1e-4)


def test_new_and_changed_images_find_their_place_among_the_others(parts: Parts, studies: Path) -> None:
    parts.score()
    parts.label("picture0")
    parts.gains()
    Image.new("RGB", (20, 20), "red").save(studies / "new.png")
    Image.new("RGB", (50, 60), "blue").save(studies / "picture1.png")
    parts.datastore.refresh()
    parts.score()
    gains, expected = parts.gains(), expected_gains(parts, (*KNOWN, "new"), ("picture0",))
    for image in ("new", "picture1", "picture2"):
        assert gains[image] == pytest.approx(expected[image], abs=1e-4)


def test_images_that_were_removed_do_not_count_until_they_are_back(parts: Parts, studies: Path) -> None:
    parts.score()
    before = parts.gains()
    content = {path: path.read_bytes() for path in studies.glob("p*.png")}
    for path in content:
        path.unlink()
    parts.datastore.refresh()
    assert parts.gains()["volume"] == pytest.approx(expected_gains(parts, ("volume",), ())["volume"], abs=1e-4)
    (studies / "volume.nii.gz").rename(studies.parent / "volume.nii.gz")
    parts.datastore.refresh()
    assert np.isnan(parts.gains()["broken"])
    (studies.parent / "volume.nii.gz").rename(studies / "volume.nii.gz")
    for path in content:
        path.write_bytes(content[path])
    parts.datastore.refresh()
    assert parts.gains() == pytest.approx(before, nan_ok=True)


def test_embeddings_of_two_models_are_not_compared(parts: Parts, checkpoint: Path) -> None:
    parts.score()
    parts.label("picture0")
    before = parts.gains()
    save_checkpoint(checkpoint, Checkpoint(make_tiny_model(seed=2)))
    # A new model has looked at one image of four.
    vector = np.full(len(parts.embedding("picture1")), 9.0)
    stored = parts.store.scores()["picture1"]
    parts.store.save("picture1", StoredScore(parts.model.version, stored.stamp, stored.score), vector)
    assert parts.gains() == pytest.approx(before, nan_ok=True)
    parts.score()
    after = parts.gains()
    # It has looked at the labelled image too, else all would be gained.
    expected = expected_gains(parts, KNOWN, ("picture0",))
    assert after["volume"] == pytest.approx(expected["volume"], abs=1e-4)
    assert after["volume"] != pytest.approx(before["volume"], abs=1e-4)


def test_what_a_new_model_knows_is_used_although_most_images_are_gone(
    parts: Parts, studies: Path, checkpoint: Path
) -> None:
    parts.score()
    parts.gains()
    for name in ("picture1.png", "picture2.png", "broken.png"):
        (studies / name).unlink()
    parts.datastore.refresh()
    parts.label("picture0")
    save_checkpoint(checkpoint, Checkpoint(make_tiny_model(seed=2)))
    parts.score()
    expected = expected_gains(parts, ("picture0", "volume"), ("picture0",))
    assert parts.gains() == {"volume": pytest.approx(expected["volume"], abs=1e-4)}


def test_an_image_like_a_labelled_one_has_no_chance(parts: Parts, studies: Path) -> None:
    """A copy of a labelled image is the least worth of all, however much of its object is in doubt."""
    (studies / "twin.png").write_bytes((studies / "picture0.png").read_bytes())
    parts.datastore.refresh()
    parts.score()
    parts.label("picture0")
    given_out = [parts.next("acselect", client)["id"] for client in "abcd"]
    assert given_out[-1] == "twin"


def test_scoring_is_asked_for_once_and_only_if_there_is_something_to_score(parts: Parts, checkpoint: Path) -> None:
    assert parts.demand.is_new(parts.datastore)
    assert not parts.demand.is_new(parts.datastore)
    parts.score()
    assert not parts.demand.is_new(parts.datastore)
    save_checkpoint(checkpoint, Checkpoint(make_tiny_model(seed=2)))
    assert parts.demand.is_new(parts.datastore)


def test_an_image_that_was_replaced_is_scored_again(parts: Parts, studies: Path) -> None:
    whole = (studies / "picture1.png").read_bytes()
    (studies / "picture1.png").write_bytes(whole[: len(whole) // 2])
    assert parts.demand.is_new(parts.datastore)
    parts.score()
    assert "picture1.png" in parts.store.scores()["picture1"].problem
    # Twice: what was asked for before is no reason not to ask for what has changed since.
    for content in (whole[:-100], whole):
        (studies / "picture1.png").write_bytes(content)
        assert parts.demand.is_new(parts.datastore)
        assert not parts.demand.is_new(parts.datastore)
        assert parts.score()["scored"] == 1
    assert parts.store.scores()["picture1"].problem == ""
    assert not parts.demand.is_new(parts.datastore)
    (studies / "picture0.png").unlink()
    assert not parts.demand.is_new(parts.datastore)


def test_among_many_images_those_that_changed_are_found_in_turn(
    parts: Parts, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.score()
    assert not parts.demand.is_new(parts.datastore)
    monkeypatch.setattr(demand, "LOOK_SECONDS", 0.0)
    Image.new("RGB", (50, 60), "red").save(studies / "picture0.png")
    assert [parts.demand.is_new(parts.datastore) for _ in range(5)].count(True) == 1


def test_a_scoring_that_could_not_be_started_does_not_end_all_scoring(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = threading.Event()

    def fail(*_: Any, **__: Any) -> None:
        started.wait(10)
        raise OSError(errno.E2BIG, "Argument list too long")

    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(utils.subprocess, "Popen", fail)
    task = utils.run_background_task({"method": "acselect"}, "scoring")
    assert not parts.demand.is_new(parts.datastore)
    started.set()
    deadline = time.monotonic() + 10
    while not parts.demand.is_new(parts.datastore):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert task["status"] == "SUBMITTED"


@pytest.mark.parametrize("odd", [ValueError("NaN to integer"), InvalidDicomError("no DICOM"), KeyError("Rows")])
def test_an_odd_error_of_one_image_is_its_problem_alone(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, odd: Exception
) -> None:
    look = acselect._look_at_file

    def fail(model: InteractiveModel, path: Path, pace: Pace) -> tuple[ImageScore, np.ndarray]:
        if path.name == "picture0.png":
            raise odd
        return look(model, path, pace)

    monkeypatch.setattr(acselect, "_look_at_file", fail)
    assert parts.score() | {"seconds": 0} == {"scored": 5, "unusable": 2, "kept": 0, "left": 0, "seconds": 0}
    assert str(odd) in parts.store.scores()["picture0"].problem
    assert parts.score()["kept"] == 5


OUTAGES = [
    HTTPException(502, "the DICOMweb server does not answer as it should"),
    HTTPException(507, "the server's disk is full"),
    OSError(errno.ESTALE, "Stale file handle"),
    MemoryError(),
    RuntimeError("CUDA out of memory"),
]


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: f"{type(outage).__name__} {outage}"[:20])
def test_an_outage_costs_no_score_and_its_images_are_scored_later(
    parts: Parts, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, outage: Exception
) -> None:
    parts.score()
    scores, embeddings = parts.store.scores(), len(parts.store.embeddings())
    save_checkpoint(checkpoint, Checkpoint(make_tiny_model(seed=2)))
    assert parts.demand.is_new(parts.datastore)

    def fail(image: str) -> str:
        raise outage

    with monkeypatch.context() as patched:
        patched.setattr(parts.datastore, "get_image_uri", fail)
        assert parts.score() | {"seconds": 0} == {"scored": 0, "unusable": 0, "kept": 0, "left": 5, "seconds": 0}
    assert "5 images could not be scored now" in caplog.text
    assert parts.store.scores() == scores
    assert len(parts.store.embeddings()) == embeddings
    # Not at once, and not for ever either.
    assert not parts.demand.is_new(parts.datastore)
    parts.clock += RETRY_SECONDS
    assert parts.demand.is_new(parts.datastore)
    assert not parts.demand.is_new(parts.datastore)
    assert parts.score()["scored"] == 5
    assert {one.version for one in parts.store.scores().values()} == {parts.model.version}


def test_a_disk_that_fails_while_an_image_is_read_is_no_fault_of_the_image(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(raster.Image, "open", fail)
        assert parts.score() | {"seconds": 0} == {"scored": 1, "unusable": 0, "kept": 0, "left": 4, "seconds": 0}
    assert set(parts.store.scores()) == {"volume"}


def test_an_image_that_is_not_there_is_unusable(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(image: str) -> str:
        raise HTTPException(404, f"there is no {image}")

    monkeypatch.setattr(parts.datastore, "get_image_uri", fail)
    assert parts.score()["unusable"] == 5
    assert parts.store.scores()["volume"].problem == "there is no volume"


def test_without_a_model_images_are_given_but_not_scored(studies: Path, tmp_path: Path) -> None:
    parts = Parts(studies, tmp_path / "nothing.pt")
    assert not parts.demand.is_new(parts.datastore)
    assert parts.next("acselect")["id"] in parts.datastore.list_images()
    with pytest.raises(CheckpointError):
        parts.score()
