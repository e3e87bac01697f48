"""Labels are submitted to a real server, a training is asked for, and the running server serves what came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import requests
import SimpleITK as sitk
from monailabel.client import MONAILabelClient
from server import Server, running_server
from synthetic import rgb_blob, write_picture
from tiny import make_tiny_model

from activefreq.files.atomic import atomic_write
from activefreq.files.volume_writing import write_mask
from activefreq.files.volumes import read_geometry
from activefreq.models.checkpoint import Checkpoint, checkpoint_hash, load_checkpoint, save_checkpoint
from lib.served_checkpoint import finetuned_path

pytestmark = [pytest.mark.server, pytest.mark.slow]

LABELLED = range(1, 4)
OTHERS = range(4, 8)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "tiny.pt"
    save_checkpoint(path, Checkpoint(make_tiny_model(seed=0)))
    return path


@pytest.fixture(scope="module")
def server(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("training_server")
    studies = folder / "studies"
    studies.mkdir()
    for number in (*LABELLED, *OTHERS):
        write_picture(studies / f"lesion_{number}.png", rgb_blob(number)[0])
    conf = {"checkpoint": str(base), "device": "cpu", "finetuned": str(folder / "finetuned")}
    environment = {"MONAI_LABEL_AUTO_UPDATE_SCORING": "false"}
    with running_server(studies, folder, conf=conf, environment=environment) as running:
        yield running


@pytest.fixture
def client(server: Server, tmp_path: Path) -> MONAILabelClient:
    return MONAILabelClient(server.url, tmpdir=str(tmp_path), client_id="tests")


def answer(client: MONAILabelClient, number: int) -> tuple[np.ndarray, str]:
    """Mask (H, W) bool after one click in the middle of the object, and the version of the model."""
    rows, columns = np.nonzero(rgb_blob(number)[1])
    point = [int(columns.mean()), int(rows.mean()), 0]
    request = {"foreground": [point], "background": [], "result_extension": ".nrrd"}
    file, facts = client.infer("activefreq", f"lesion_{number}", request)
    return sitk.GetArrayFromImage(sitk.ReadImage(file))[0] > 0, facts["model_version"]


def mean_iou(client: MONAILabelClient, numbers: range) -> float:
    overlaps = []
    for number in numbers:
        mask, truth = answer(client, number)[0], rgb_blob(number)[1]
        overlaps.append((mask & truth).sum() / (mask | truth).sum())
    return float(np.mean(overlaps))


def submit(client: MONAILabelClient, server: Server, folder: Path) -> None:
    for number in LABELLED:
        label = folder / f"lesion_{number}.nii.gz"
        write_mask(label, rgb_blob(number)[1], like=read_geometry(Path(server.studies) / f"lesion_{number}.png"))
        client.save_label(f"lesion_{number}", str(label), "final", {"label_info": [{"name": "lesion", "idx": 1}]})


def train_until_published(client: MONAILabelClient, server: Server) -> psutil.Process:
    """Starts a training without end; returns its process when its first weights are published."""
    client.train_start("activefreq", {"max_epochs": 100_000, "device": "cpu"})
    deadline = time.monotonic() + 400
    figures: dict[str, Any] = {}
    # Until the training has begun, the figures are those of the one before it.
    while (figures.get("state"), figures.get("total_epochs"), figures.get("published")) != ("running", 100_000, True):
        assert time.monotonic() < deadline, (figures, client.train_status())
        time.sleep(1)
        figures = client.info()["train_stats"]["activefreq"]
    (training,) = [
        process
        for process in psutil.Process(server.process.pid).children(recursive=True)
        if "monailabel.interfaces.utils.app" in process.cmdline()
    ]
    return training


def wait(client: MONAILabelClient, seconds: float = 400) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = client.train_status()
        if status["status"] not in ("SUBMITTED", "RUNNING"):
            return dict(status)
        time.sleep(1)
    raise AssertionError(f"the training did not end: {client.train_status()}")


def test_without_labels_the_client_learns_why(client: MONAILabelClient, server: Server) -> None:
    client.train_start("activefreq", {"max_epochs": 1})
    status = wait(client)
    assert status["status"] == "ERROR"
    assert "no image has a submitted label yet" in "\n".join(status["details"])
    refused = requests.post(
        f"{server.url}/train/activefreq", params={"run_sync": True}, json={"max_epochs": "x"}, timeout=60
    )
    assert (refused.status_code, refused.json()["detail"]) == (422, "max_epochs must be a number, not 'x'")


def test_labels_make_the_served_model_better_on_other_images(
    client: MONAILabelClient, server: Server, base: Path, tmp_path: Path
) -> None:
    submit(client, server, tmp_path)
    before, version = mean_iou(client, OTHERS), answer(client, 4)[1]
    assert version == checkpoint_hash(base)[:12]

    config = client.info()["trainers"]["activefreq"]["config"]
    assert config["tracking"][0] == "None"
    asked = {name: value[0] if isinstance(value, list) else value for name, value in config.items()}
    client.train_start("activefreq", asked | {"max_epochs": 25, "val_split": 0.3, "device": "cpu"})
    status = wait(client)
    assert status["status"] == "DONE", status

    raw = requests.get(f"{server.url}/info/", timeout=60)
    figures = json.loads(raw.text, parse_constant=lambda name: pytest.fail(name))["train_stats"]["activefreq"]
    assert figures["finetuning"]["published"], figures
    assert (figures["epoch"], figures["total_epochs"]) == (25, 25)
    assert figures["total_time"]
    published = finetuned_path(str(base), server.output.parent / "finetuned")
    assert answer(client, 4)[1] == checkpoint_hash(published)[:12] != version
    assert mean_iou(client, OTHERS) > before + 0.1


def test_a_stop_request_stops_and_the_best_weights_stay(
    client: MONAILabelClient, server: Server, base: Path, tmp_path: Path
) -> None:
    submit(client, server, tmp_path)
    published = finetuned_path(str(base), server.output.parent / "finetuned")
    training = train_until_published(client, server)
    client.train_stop()
    psutil.wait_procs([training], timeout=30)
    assert not training.is_running()
    assert client.train_status()["status"] == "STOPPED"
    figures = client.info()["train_stats"]["activefreq"]
    assert (figures["state"], figures["published"], "total_time" in figures) == ("ended early", True, False)
    best = load_checkpoint(published).info["finetuned"]["miou"]
    # The weights are published before they are told: the kill may fall between the two.
    assert np.mean(best) >= figures["best_metric"] - 1e-6
    assert answer(client, 4)[1] == checkpoint_hash(published)[:12]


def test_a_training_that_is_killed_harms_nobody(client: MONAILabelClient, server: Server, tmp_path: Path) -> None:
    submit(client, server, tmp_path)
    training = train_until_published(client, server)
    training.kill()
    assert wait(client)["status"] == "ERROR"
    figures = client.info()["train_stats"]["activefreq"]
    # Whether it was told that weights were published depends on when the kill fell, see above.
    assert (figures["state"], "total_time" in figures) == ("ended early", False)
    answer(client, 4)
    client.train_start("activefreq", {"max_epochs": 1, "device": "cpu"})
    assert wait(client)["status"] == "DONE"
    assert client.info()["train_stats"]["activefreq"]["state"] == "done"


def test_a_corrupt_checkpoint_is_told_and_the_one_before_it_serves_on(
    client: MONAILabelClient, server: Server, base: Path
) -> None:
    target = finetuned_path(str(base), server.output.parent / "finetuned")
    save_checkpoint(target, Checkpoint(make_tiny_model(seed=5)))
    whole = target.read_bytes()
    mask, version = answer(client, 4)
    assert client.info()["models"]["activefreq"]["problem"] == ""
    for corrupt in (whole[: len(whole) // 2], b"", bytes(len(whole))):
        with atomic_write(target) as temporary:
            temporary.write_bytes(corrupt)
        again, same = answer(client, 4)
        assert same == version
        np.testing.assert_array_equal(again, mask)
        assert target.name in client.info()["models"]["activefreq"]["problem"]
        assert f"The new checkpoint is not used, the model before it serves on: {target}" in server.output.read_text()
    save_checkpoint(target, Checkpoint(make_tiny_model(seed=6)))
    assert answer(client, 4)[1] == checkpoint_hash(target)[:12] != version
    assert client.info()["models"]["activefreq"]["problem"] == ""
