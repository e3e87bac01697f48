"""The training task in this process, with a real datastore; `test_finetuning_server.py` runs it through a server."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
import mlflow
import numpy as np
import pytest
from fastapi import HTTPException
from synthetic import oblique_volume, rgb_blob, write_picture, write_volume
from tiny import make_tiny_model

from activefreq.files.volumes import read_geometry, write_mask
from activefreq.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lib.served_checkpoint import finetuned_path
from lib.studies import StudiesFolder
from lib.trainers import finetuning, train_request
from lib.trainers.finetuning import STATS_NAME, FinetuneTask, labelled_samples
from lib.trainers.train_stats import StatsFile, TrainReport

QUICK = {"max_epochs": 2, "device": "cpu", "val_split": 0.3}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.pt"
    save_checkpoint(path, Checkpoint(make_tiny_model(seed=0)))
    return path


@pytest.fixture
def finetuned(tmp_path: Path) -> Path:
    return tmp_path / "finetuned"


@pytest.fixture
def task(base: Path, finetuned: Path) -> FinetuneTask:
    return FinetuneTask(checkpoint=str(base), finetuned=finetuned, device="cpu")


@pytest.fixture
def store(studies_folder: Path) -> StudiesFolder:
    return StudiesFolder(str(studies_folder), auto_reload=False)


def submit(store: StudiesFolder, image: str, mask: np.ndarray, folder: Path) -> None:
    """Saves a label as 3D Slicer does: a NIfTI file on the image's grid."""
    path = folder / "submitted.nii.gz"
    write_mask(path, mask, like=read_geometry(store.get_image_uri(image)))
    store.save_label(image, str(path), "final", {"label_info": [{"name": "lesion", "idx": 1}]})


def test_three_saved_labels_are_enough(task: FinetuneTask, store: StudiesFolder, base: Path, finetuned: Path) -> None:
    before = base.read_bytes()
    figures = task({**QUICK, "model": "activefreq"}, store)
    assert figures == task.stats()
    assert (figures["epoch"], figures["total_epochs"], figures["problems"]) == (2, 2, [])
    told = figures["finetuning"]
    assert sorted(told["training"] + told["validation"]) == ["lesion_1", "lesion_2", "lesion_3"]
    assert set(told["training"]).isdisjoint(told["validation"])
    assert base.read_bytes() == before
    published = finetuned_path(str(base), finetuned)
    assert told["published"] is published.is_file()
    assert told["published"] is (sum(told["miou_after"]) >= sum(told["miou_before"]))


def test_what_got_worse_is_not_published(
    task: FinetuneTask, store: StudiesFolder, base: Path, finetuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune = finetuning.finetune

    def ruin(checkpoint: Checkpoint, samples: Any, config: Any, **options: Any) -> Any:
        # At this rate every step destroys what was learnt.
        return tune(checkpoint, samples, replace(config, learning_rate=10.0), **options)

    good = finetuned_path(str(base), finetuned)
    task(QUICK | {"max_epochs": 6}, store)
    kept = good.read_bytes()
    monkeypatch.setattr(finetuning, "finetune", ruin)
    figures = task(QUICK, store)
    told = figures["finetuning"]
    assert told["published"] is False
    assert sum(told["miou_after"]) < sum(told["miou_before"])
    assert "got worse" in told["reason"]
    assert figures["best_metric"] == pytest.approx(np.mean(told["miou_before"]), abs=1e-3)
    assert good.read_bytes() == kept


def test_the_next_one_begins_where_the_last_one_ended(
    task: FinetuneTask, store: StudiesFolder, base: Path, finetuned: Path
) -> None:
    first = task(QUICK | {"max_epochs": 4}, store)["finetuning"]
    assert first["published"]
    second = task(QUICK, store)["finetuning"]
    assert second["miou_before"] == first["miou_after"]
    info = load_checkpoint(finetuned_path(str(base), finetuned)).info
    last = second if second["published"] else first
    assert list(info["finetuned"]["images"]) == last["training"]


def test_annotated_slices_of_volumes_and_labels_of_another_orientation(tmp_path: Path) -> None:
    studies = tmp_path / "volumes"
    studies.mkdir()
    volume, labels = oblique_volume(1)
    write_volume(studies / "scan.nii.gz", volume.array, volume.geometry)
    store = StudiesFolder(str(studies), auto_reload=False)
    only = np.zeros_like(labels)
    only[2:4] = labels[2:4] > 0
    submit(store, "scan", only, tmp_path)
    samples = labelled_samples(store)
    assert samples.names == ("scan#k=002", "scan#k=003")
    np.testing.assert_array_equal(samples[1].target, labels[3] > 0)


def test_suggested_regions_in_a_label_are_not_learned(store: StudiesFolder, tmp_path: Path) -> None:
    """Of a label that was saved before such were refused."""
    truth = rgb_blob(4)[1]
    labels = truth.astype(np.uint8)
    labels[:, :5], labels[:5, -5:] = 2, 3
    path = tmp_path / "submitted.nii.gz"
    write_mask(path, labels, like=read_geometry(store.get_image_uri("lesion_4")))
    names = ("lesion", "suggested_add", "suggested_remove")
    info = {"label_info": [{"name": name, "idx": value} for value, name in enumerate(names, start=1)]}
    store.save_label("lesion_4", str(path), "final", info)
    samples = labelled_samples(store)
    found = samples[samples.names.index("lesion_4")]
    np.testing.assert_array_equal(found.target, labels == 1)
    (problem,) = samples.problems
    assert str(problem).startswith("lesion_4: the voxels of suggested_add and suggested_remove")


def test_bad_labels_are_named_and_the_others_used(task: FinetuneTask, store: StudiesFolder, tmp_path: Path) -> None:
    label = Path(store.get_label_uri("lesion_2", "final"))
    label.write_bytes(b"\0" * 100)
    submit(store, "lesion_3", np.zeros((48, 64), bool), tmp_path)
    submit(store, "lesion_4", rgb_blob(4)[1], tmp_path)
    figures = task(QUICK, store)
    told = figures["finetuning"]
    assert sorted(told["training"] + told["validation"]) == ["lesion_1", "lesion_4"]
    problems = "\n".join(figures["problems"])
    assert "lesion_2" in problems
    assert "lesion_3: the object has 0 pixels" in problems


def test_without_labels_or_with_bad_wishes_the_client_is_told(task: FinetuneTask, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_picture(tmp_path / "empty" / "a.jpg", rgb_blob(1)[0])
    store = StudiesFolder(str(tmp_path / "empty"), auto_reload=False)
    with pytest.raises(HTTPException) as caught:
        task(QUICK, store)
    assert caught.value.status_code == 422
    assert "no image has a submitted label yet" in caught.value.detail
    with pytest.raises(HTTPException) as caught:
        task({"max_epochs": "x"}, store)
    assert (caught.value.status_code, caught.value.detail) == (422, "max_epochs must be a number, not 'x'")
    assert task.stats() == {}


def test_without_a_checkpoint_the_client_is_told(store: StudiesFolder, tmp_path: Path) -> None:
    task = FinetuneTask(checkpoint=str(tmp_path / "none.pt"), finetuned=tmp_path, device="cpu")
    with pytest.raises(HTTPException) as caught:
        task(QUICK, store)
    assert caught.value.status_code == 503


def test_info_survives_a_ruined_file_of_figures(task: FinetuneTask, finetuned: Path) -> None:
    finetuned.mkdir()
    (finetuned / STATS_NAME).write_text('{"best_metric": NaN}')
    assert task.stats() == {}
    json.dumps(task.info(), allow_nan=False)


def test_a_crash_is_told_and_what_proved_better_stays(
    task: FinetuneTask, store: StudiesFolder, base: Path, finetuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune = finetuning.finetune

    def crash(*arguments: Any, listener: Any, **options: Any) -> Any:
        def follow(progress: Any) -> None:
            listener(progress)
            if progress.published:
                raise RuntimeError("out of memory")

        return tune(*arguments, listener=follow, **options)

    monkeypatch.setattr(finetuning, "finetune", crash)
    with pytest.raises(RuntimeError, match="out of memory"):
        task(QUICK | {"max_epochs": 30}, store)
    figures = task.stats()
    assert (figures["state"], figures["error"], figures["published"]) == ("failed", "out of memory", True)
    assert figures["epoch"] < 30
    assert load_checkpoint(finetuned_path(str(base), finetuned)).info["finetuned"]["images"]


def test_a_training_that_is_killed_ended_early(task: FinetuneTask, finetuned: Path) -> None:
    TrainReport(StatsFile(finetuned / STATS_NAME), epochs=9, problems=[])
    code = "import filelock, sys, time\nwith filelock.FileLock(sys.argv[1]): print(1, flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, str(finetuned / "training.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as training:
        assert training.stdout is not None
        training.stdout.readline()
        assert task.stats()["state"] == "running"
        training.kill()
    assert task.stats()["state"] == "ended early"
    assert task.stats()["total_epochs"] == 9


def test_one_training_at_a_time(
    task: FinetuneTask, store: StudiesFolder, finetuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuning, "WAIT_SECONDS", 0.1)
    finetuned.mkdir()
    with filelock.FileLock(finetuned / "training.lock"), pytest.raises(HTTPException) as caught:
        task(QUICK, store)
    assert (caught.value.status_code, caught.value.detail) == (409, "another training of this model is under way")
    assert task.stats() == {}


@pytest.mark.slow
def test_on_several_devices_together(
    task: FinetuneTask, store: StudiesFolder, base: Path, finetuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_request, "several_devices", lambda *_: (("cpu", "cpu"), ""))
    figures = task(QUICK | {"multi_gpu": True, "max_epochs": 6}, store)
    assert figures == task.stats()
    assert (figures["state"], figures["epoch"], "remark" in figures) == ("done", 6, False)
    told = figures["finetuning"]
    assert told["published"]
    assert sum(told["miou_after"]) >= sum(told["miou_before"])
    info = load_checkpoint(finetuned_path(str(base), finetuned)).info["finetuned"]
    assert np.round(info["miou"], 4).tolist() == told["miou_after"]


def test_one_device_in_place_of_several_is_told(task: FinetuneTask, store: StudiesFolder) -> None:
    figures = task(QUICK | {"multi_gpu": True, "max_epochs": 1}, store)
    assert figures["remark"].startswith("several GPUs were asked for, but 0 can be used: trained on cpu")


def test_a_tracking_server_that_is_down_for_a_while_ends_no_fine_tuning(
    task: FinetuneTask, store: StudiesFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise mlflow.exceptions.MlflowException("the server does not answer")

    monkeypatch.setattr(mlflow, "log_metric", unreachable)
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    figures = task({**QUICK, "tracking": "mlflow", "tracking_uri": uri}, store)["finetuning"]
    assert figures["epochs"] == QUICK["max_epochs"]
    assert "MLflow was not told: the server does not answer" in caplog.text


def test_mlflow_only_when_asked_for(task: FinetuneTask, store: StudiesFolder, finetuned: Path, tmp_path: Path) -> None:
    task(QUICK, store)
    assert not list(finetuned.glob("*.db"))
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    task({**QUICK, "tracking": "mlflow", "tracking_uri": uri, "tracking_experiment_name": "skin"}, store)
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("skin")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["epochs"] == "2"
    history = client.get_metric_history(run.info.run_id, "miou_1")
    assert len(history) == 2
