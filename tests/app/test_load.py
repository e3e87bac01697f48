"""Many clients click at once on a real server, and every mask is the one that it answers to one client alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from server import Server

from activefreq.evaluation.load import LoadScenario, run_scenario, wrong_answers
from activefreq.evaluation.local import LocalBackendFactory
from activefreq.evaluation.robot import RemoteBackend
from activefreq.files.volumes import read_volume

pytestmark = pytest.mark.server


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
