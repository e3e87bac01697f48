"""What people have saved outlives a server that is killed, and a full disk costs nothing that was there before."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests
from monailabel.client import MONAILabelClient
from server import Server, running_server
from synthetic import rgb_blob, write_picture
from tiny import make_tiny_model

from activefreq.files.volume_writing import write_mask
from activefreq.files.volumes import read_geometry, read_label_volume
from activefreq.models.checkpoint import Checkpoint, checkpoint_hash, save_checkpoint
from lib.served_checkpoint import finetuned_path
from lib.served_model import ServedModel
from lib.studies import StudiesFolder
from lib.trainers.finetuning import FinetuneTask

pytestmark = [pytest.mark.server, pytest.mark.slow]

IMAGES = range(1, 5)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.pt"
    save_checkpoint(path, Checkpoint(make_tiny_model(seed=0)))
    return path


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    folder = tmp_path / "studies"
    folder.mkdir()
    for number in IMAGES:
        write_picture(folder / f"lesion_{number}.png", rgb_blob(number)[0])
    return folder


@pytest.fixture
def labels(studies: Path, tmp_path: Path) -> list[bytes]:
    """Twelve label files that differ: the object of an image, and one pixel more or less."""
    found = []
    for number in range(12):
        mask = rgb_blob(number % 4 + 1)[1].copy()
        mask[number, number] ^= True
        path = tmp_path / "label.nii.gz"
        write_mask(path, mask, like=read_geometry(studies / f"lesion_{number % 4 + 1}.png"))
        found.append(path.read_bytes())
    assert len(set(found)) == len(found)
    return found


def put(url: str, image: str, tag: str, content: bytes) -> requests.Response:
    return requests.put(
        f"{url}/datastore/label",
        params={"image": image, "tag": tag},
        files={"label": ("label.nii.gz", content)},
        data={"params": json.dumps({"label_info": [{"name": "lesion", "idx": 1}]})},
        timeout=300,
    )


def get(url: str, image: str, tag: str) -> requests.Response:
    return requests.get(f"{url}/datastore/label", params={"label": image, "tag": tag}, timeout=300)


def save_until_killed(server: Server, labels: list[bytes], folder: str, *, acknowledged: int) -> dict:
    """Four clients save; when enough was acknowledged, the server is killed in the midst of it.

    Returns:
        (image, tag) -> the versions, as indices of `labels`, that may be found: the last one that was acknowledged, and
        one that was sent after it.
    """
    allowed: dict[tuple[str, str], tuple[int, ...]] = {}
    count = threading.Semaphore(0)

    def save(client: int) -> None:
        image = f"lesion_{client}"
        for number in range(10_000):
            # Every other one replaces a label, the others are new.
            tag = f"{folder}-{client}-{0 if number % 2 else number}"
            version = number % len(labels)
            before = allowed.get((image, tag), ())[:1]
            allowed[image, tag] = (*before, version)
            try:
                answer = put(server.url, image, tag, labels[version])
            except requests.RequestException:
                if not before:
                    del allowed[image, tag]
                return
            assert answer.ok, answer.text
            allowed[image, tag] = (version,)
            count.release()

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(save, client) for client in IMAGES]
        for _ in range(acknowledged):
            assert count.acquire(timeout=300)
        server.process.kill()
        for client in clients:
            client.result()
    return allowed


def test_a_kill_during_saves_loses_nothing_that_was_acknowledged(
    base: Path, studies: Path, labels: list[bytes], tmp_path: Path
) -> None:
    conf = {"checkpoint": str(base), "device": "cpu", "finetuned": str(tmp_path / "finetuned")}
    environment = {"MONAI_LABEL_AUTO_UPDATE_SCORING": "false"}
    with running_server(studies, tmp_path, conf=conf, environment=environment) as server:
        allowed = save_until_killed(server, labels, "first", acknowledged=60)
    with running_server(studies, tmp_path, conf=conf, environment=environment) as server:
        for (image, tag), versions in allowed.items():
            answer = get(server.url, image, tag)
            assert answer.ok, (image, tag)
            assert answer.content in [labels[version] for version in versions], (image, tag)
        allowed |= save_until_killed(server, labels, "second", acknowledged=37)

    json.loads((studies / "datastore_v2.json").read_text())
    store = StudiesFolder(str(studies), auto_reload=False)
    assert len(allowed) > 40
    for (image, tag), versions in allowed.items():
        path = Path(store.get_label_uri(image, tag))
        assert path.read_bytes() in [labels[version] for version in versions], (image, tag)
        read_label_volume(path)


def test_a_kill_during_a_training_leaves_labels_and_a_whole_checkpoint(
    base: Path, studies: Path, labels: list[bytes], tmp_path: Path
) -> None:
    finetuned = tmp_path / "finetuned"
    conf = {"checkpoint": str(base), "device": "cpu", "finetuned": str(finetuned)}
    with running_server(
        studies, tmp_path, conf=conf, environment={"MONAI_LABEL_AUTO_UPDATE_SCORING": "false"}
    ) as server:
        for number in IMAGES:
            assert put(server.url, f"lesion_{number}", "final", labels[number - 1]).ok
        client = MONAILabelClient(server.url)
        client.train_start("activefreq", {"max_epochs": 100_000, "device": "cpu"})
        wait_for(lambda: client.info()["train_stats"]["activefreq"].get("published"), seconds=400)
        trainings = psutil.Process(server.process.pid).children(recursive=True)
        server.process.kill()
    # Nobody could stop it any more.
    assert psutil.wait_procs(trainings, timeout=120)[1] == []

    store = StudiesFolder(str(studies), auto_reload=False)
    for number in IMAGES:
        assert Path(store.get_label_uri(f"lesion_{number}", "final")).read_bytes() == labels[number - 1]
    served = ServedModel(str(base), device="cpu", cache_bytes=0, finetuned=finetuned)
    assert served.current().version == checkpoint_hash(finetuned_path(str(base), finetuned))[:12]
    figures = FinetuneTask(checkpoint=str(base), finetuned=finetuned, device="cpu").stats()
    assert figures["state"] in ("done", "ended early")
    assert figures["published"]


def wait_for(condition: object, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.5)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(os.urandom(4096))


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    trial = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


@pytest.fixture
def cramped(base: Path, studies: Path, tmp_path: Path) -> Iterator[Server]:
    """A server whose studies lie on a disk of 1 MB, and its fine-tuned checkpoints on one of 64 kB: real file systems
    that only this server sees (a mount namespace); from here they are reached through /proc."""
    if not can_mount():
        pytest.skip("small file systems need user and mount namespaces")
    places = {"small": (studies, "1m"), "tiny": (tmp_path / "finetuned", "64k")}
    script = ["set -e"]
    source = tmp_path / "source"
    shutil.copytree(studies, source)
    for folder, size in places.values():
        folder.mkdir(exist_ok=True)
        script.append(f"mount -t tmpfs -o size={size} none '{folder}'")
    script += [f"cp '{source}'/* '{studies}'", 'exec "$@"']
    prefix = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", "\n".join(script), "bash"]
    conf = {"checkpoint": str(base), "device": "cpu", "finetuned": str(tmp_path / "finetuned")}
    with running_server(
        studies, tmp_path, conf=conf, environment={"MONAI_LABEL_AUTO_UPDATE_SCORING": "false"}, prefix=prefix
    ) as server:
        yield server


def test_a_full_disk_costs_nothing_that_was_there(cramped: Server, base: Path, labels: list[bytes]) -> None:
    url = cramped.url
    inside = Path(f"/proc/{cramped.process.pid}/root") / str(cramped.studies).lstrip("/")
    assert inside.stat().st_dev != Path(cramped.studies).stat().st_dev
    assert put(url, "lesion_1", "final", labels[0]).ok
    ballast = inside / "ballast.bin"
    with pytest.raises(OSError, match="No space left"):
        fill(ballast)

    for image, version in (("lesion_2", 1), ("lesion_1", 4)):
        answer = put(url, image, "final", labels[version])
        assert (answer.status_code, "disk is full" in answer.text) == (507, True), answer.text
    assert get(url, "lesion_1", "final").content == labels[0]
    json.loads((inside / "datastore_v2.json").read_text())
    click = {"foreground": [[20, 20, 0]], "background": []}
    answer = requests.post(
        f"{url}/infer/activefreq?image=lesion_3&output=image", data={"params": json.dumps(click)}, timeout=300
    )
    assert answer.ok

    ballast.unlink()
    for number in (2, 3):
        assert put(url, f"lesion_{number}", "final", labels[number - 1]).ok
        assert get(url, f"lesion_{number}", "final").content == labels[number - 1]

    # The checkpoint does not fit where it is to be published.
    client = MONAILabelClient(url)
    assert base.stat().st_size > 65536
    client.train_start("activefreq", {"max_epochs": 40, "device": "cpu"})
    wait_for(lambda: client.train_status()["status"] not in ("SUBMITTED", "RUNNING"), seconds=400)
    status = client.train_status()
    assert status["status"] == "ERROR"
    assert "the server's disk is full" in "\n".join(status["details"])
    figures = client.info()["train_stats"]["activefreq"]
    assert (figures["state"], figures["published"]) == ("failed", False)
    assert "No space left" in figures["error"]
    facts = requests.post(
        f"{url}/infer/activefreq?image=lesion_3&output=json", data={"params": json.dumps(click)}, timeout=300
    ).json()
    assert facts["model_version"] == checkpoint_hash(base)[:12]
