"""The training task in this process, with a real datastore; `test_finetuning_server.py` runs it through a server."""

from __future__ import annotations

import errno
import json
import os
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

from activefreq.errors import InputError
from activefreq.files.volume_writing import write_mask
from activefreq.files.volumes import read_geometry
from activefreq.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from activefreq.training.finetune import hold_out
from lib.served_checkpoint import finetuned_path
from lib.studies import StudiesFolder
from lib.trainers import finetuning, train_request
from lib.trainers.finetuning import STATS_NAME, FinetuneTask
from lib.trainers.submitted import labelled_samples
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


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where labels are kept for a training."""
    folder = tmp_path / "kept"
    folder.mkdir()
    return folder


def submit(store: StudiesFolder, image: str, mask: np.ndarray, folder: Path) -> None:
    """Saves a label as 3D Slicer does: a NIfTI file on the image's grid."""
    path = folder / "submitted.nii.gz"
    write_mask(path, mask, like=read_geometry(store.get_image_uri(image)))
    store.save_label(image, str(path), "final", {"label_info": [{"name": "lesion", "idx": 1}]})


def test_three_saved_labels_are_enough(task: FinetuneTask, store: StudiesFolder, base: Path, finetuned: Path) -> None:
    before = base.read_bytes()
    for left in (".labels-1", ".writing-1"):
        # By a training that was killed.
        (finetuned / left).mkdir(parents=True)
        (finetuned / left / "file").write_bytes(b"1")
    figures = task({**QUICK, "model": "activefreq"}, store)
    assert [path.name for path in finetuned.iterdir() if path.name.startswith(".")] == []
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


def test_annotated_slices_of_volumes_and_labels_of_another_orientation(tmp_path: Path, kept: Path) -> None:
    studies = tmp_path / "volumes"
    studies.mkdir()
    volume, labels = oblique_volume(1)
    write_volume(studies / "scan.nii.gz", volume.array, volume.geometry)
    store = StudiesFolder(str(studies), auto_reload=False)
    only = np.zeros_like(labels)
    only[2:4] = labels[2:4] > 0
    submit(store, "scan", only, tmp_path)
    samples = labelled_samples(store, kept)
    assert samples.names == ("scan#k=002", "scan#k=003")
    np.testing.assert_array_equal(samples[1].target, labels[3] > 0)


def test_images_that_are_links_to_files_of_one_name_are_told_apart(tmp_path: Path, kept: Path) -> None:
    studies = tmp_path / "links"
    studies.mkdir()
    for number in range(1, 5):
        case = tmp_path / f"case_{number}"
        case.mkdir()
        write_picture(case / "imaging.png", rgb_blob(number)[0])
        (studies / f"lesion_{number}.png").symlink_to(case / "imaging.png")
    volume, labels = oblique_volume(1)
    write_volume(tmp_path / "case_1" / "imaging.nii.gz", volume.array, volume.geometry)
    (studies / "scan.nii.gz").symlink_to(tmp_path / "case_1" / "imaging.nii.gz")
    store = StudiesFolder(str(studies), auto_reload=False)
    for number in range(1, 5):
        submit(store, f"lesion_{number}", rgb_blob(number)[1], tmp_path)
    submit(store, "scan", labels > 0, tmp_path)
    samples = labelled_samples(store, kept)
    slices = [f"scan#k={k:03d}" for k in range(1, 5)]
    assert sorted(samples.names) == ["lesion_1", "lesion_2", "lesion_3", "lesion_4", *slices]
    assert set(samples.groups) == {"lesion_1", "lesion_2", "lesion_3", "lesion_4", "scan"}
    for number in range(1, 5):
        found = samples[samples.names.index(f"lesion_{number}")]
        np.testing.assert_array_equal(found.image, rgb_blob(number)[0])
        np.testing.assert_array_equal(found.target, rgb_blob(number)[1])
    training, validation, held_out = hold_out(samples, 0.3)
    assert held_out == "held-out groups"
    assert set(training.groups).isdisjoint(validation.groups)


@pytest.mark.parametrize("links", [True, False])
def test_labels_are_those_that_were_there_when_the_training_began(
    store: StudiesFolder, tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    samples = labelled_samples(store, kept)
    names = sorted(samples.names)
    assert names == ["lesion_1", "lesion_2", "lesion_3"]
    submit(store, "lesion_1", ~rgb_blob(1)[1], tmp_path)
    submit(store, "lesion_2", np.zeros((48, 64), bool), tmp_path)
    store.remove_label("lesion_3", "final")
    for number in range(1, 4):
        target = samples[samples.names.index(f"lesion_{number}")].target
        np.testing.assert_array_equal(target, rgb_blob(number)[1])


def test_a_label_that_is_gone_is_named_and_no_other_reason_is_made_up(store: StudiesFolder, kept: Path) -> None:
    for number in range(1, 4):
        Path(store.get_label_uri(f"lesion_{number}", "final")).unlink()
    with pytest.raises(InputError) as caught:
        labelled_samples(store, kept)
    assert str(caught.value) == (
        "no submitted label can be used; the first of 3 problems is "
        "lesion_1: the image or its label is not there any more"
    )


def test_suggested_regions_in_a_label_are_not_learned(store: StudiesFolder, tmp_path: Path, kept: Path) -> None:
    """Of a label that was saved before such were refused."""
    truth = rgb_blob(4)[1]
    labels = truth.astype(np.uint8)
    labels[:, :5], labels[:5, -5:] = 2, 3
    path = tmp_path / "submitted.nii.gz"
    write_mask(path, labels, like=read_geometry(store.get_image_uri("lesion_4")))
    names = ("lesion", "suggested_add", "suggested_remove")
    info = {"label_info": [{"name": name, "idx": value} for value, name in enumerate(names, start=1)]}
    store.save_label("lesion_4", str(path), "final", info)
    samples = labelled_samples(store, kept)
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
    assert "lesion_2: the label lesion_2.nii.gz: " in problems
    assert "lesion_3: the object has 0 pixels" in problems
    assert str(tmp_path) not in problems


def test_no_error_tells_where_the_files_are(
    task: FinetuneTask, store: StudiesFolder, base: Path, tmp_path: Path
) -> None:
    for number in range(1, 4):
        Path(store.get_image_uri(f"lesion_{number}")).write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(HTTPException) as caught:
        task(QUICK, store)
    assert caught.value.status_code == 422
    assert "lesion_1.jpg: " in caught.value.detail
    assert str(tmp_path) not in caught.value.detail
    for number in range(1, 4):
        write_picture(Path(store.get_image_uri(f"lesion_{number}")), rgb_blob(number)[0])
    base.write_bytes(b"no checkpoint")
    with pytest.raises(HTTPException) as caught:
        task(QUICK, store)
    assert caught.value.status_code == 503
    assert task.stats()["error"].startswith("base.pt is not a readable checkpoint")
    assert str(tmp_path) not in caught.value.detail + task.stats()["error"]


def test_a_disk_that_is_full_at_the_end_is_told_with_what_is_served(
    task: FinetuneTask, store: StudiesFolder, base: Path, finetuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = StatsFile.write

    def fill(file: StatsFile, figures: Any) -> None:
        if figures["state"] == "done":
            raise OSError(errno.ENOSPC, "No space left on device", str(finetuned))
        write(file, figures)

    monkeypatch.setattr(StatsFile, "write", fill)
    with pytest.raises(HTTPException) as caught:
        task(QUICK | {"max_epochs": 6}, store)
    assert finetuned_path(str(base), finetuned).is_file()
    assert caught.value.status_code == 507
    assert caught.value.detail == "the server's disk is full; weights that this training published before are served"
    figures = task.stats()
    assert (figures["state"], figures["published"]) == ("failed", True)
    assert figures["error"] == "No space left on device"


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
