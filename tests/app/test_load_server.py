"""Many clients click at once on a real server, and every mask is the one that it answers to one client alone."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from server import Server
from tiny import make_tiny_model

from activefreq.evaluation.load import LoadScenario, run_scenario, wrong_answers
from activefreq.evaluation.local import LocalBackendFactory
from activefreq.evaluation.robot import RemoteBackend
from activefreq.files.volumes import read_volume
from activefreq.models.checkpoint import Checkpoint, save_checkpoint

pytestmark = pytest.mark.server

SCRIPT = Path(__file__).parents[2] / "scripts" / "load_test.py"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("load_test", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("shared", [False, True])
def test_clients_at_once_get_the_masks_of_one_alone(server: Server, tiny_checkpoint: Path, shared: bool) -> None:
    volume = read_volume(server.studies / "good_volume.nrrd").array
    images = {f"good_volume#k={k}": volume[k] for k in (0, 4)}
    images["good_colour"] = read_volume(server.studies / "good_colour.png").array[0]
    backend = RemoteBackend(url=server.url)
    scenario = LoadScenario(clients=6, shared=shared, seconds=120, most=60, walk=4)
    result = run_scenario(backend, images, scenario, probe=backend.describe)
    assert result.failures == ()
    assert result.clicks >= 60
    assert result.probes
    reference = LocalBackendFactory(checkpoint=tiny_checkpoint, device="cpu")()
    assert wrong_answers(reference, images, [result]) == []


def test_the_script_reports_what_it_measured(
    server: Server, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    studies = tmp_path / "studies"
    studies.mkdir()
    for name in ("good_colour.png", "good_volume.nrrd"):
        shutil.copy(server.studies / name, studies)
    # What a server that is running leaves beside the images.
    (studies / ".lock").touch()
    (studies / "datastore_v2.json").write_text("{}")
    (studies / ".activefreq").mkdir()
    arguments = ["--server", server.url, "--studies", str(studies), "--weights", str(tiny_checkpoint)]
    arguments += ["--clients", "1", "3", "--seconds", "1.5", "--output", str(tmp_path / "out")]
    assert load_script().main(arguments) == 0
    content = json.loads((tmp_path / "out" / "load.json").read_text())
    rows = content["scenarios"]
    assert [(row["clients"], row["images"]) for row in rows] == [
        (1, "different"),
        (1, "the same"),
        (3, "different"),
        (3, "the same"),
    ]
    assert all((row["wrong"], row["failures"]) == (0, 0) and row["clicks"] > 0 for row in rows)
    assert content["about"]["images"] == ["good_colour", "good_volume#k=004"]
    assert content["memory"] is None
    assert (tmp_path / "out" / "load.md").read_text() in capsys.readouterr().out


def test_the_script_finds_a_server_with_another_model_wrong(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "other.pt", Checkpoint(make_tiny_model(seed=1)))
    shutil.copy(server.studies / "good_colour.png", tmp_path)
    arguments = ["--server", server.url, "--weights", str(tmp_path / "other.pt"), "--output", str(tmp_path / "out")]
    assert load_script().main(arguments) == 2
    assert "--server needs --studies" in capsys.readouterr().err
    (tmp_path / "studies").mkdir()
    (tmp_path / "good_colour.png").rename(tmp_path / "studies" / "good_colour.png")
    arguments += ["--studies", str(tmp_path / "studies"), "--clients", "1", "--seconds", "1"]
    assert load_script().main(arguments) == 1
    assert json.loads((tmp_path / "out" / "load.json").read_text())["scenarios"][0]["wrong"] > 0
