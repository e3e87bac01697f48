"""A robot annotates through the server, and finds what the evaluation in this process finds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from server import Server

from activefreq.data.discovery import find_samples
from activefreq.errors import InputError
from activefreq.evaluation.local import LocalBackendFactory
from activefreq.evaluation.plan import Plan, PolicySpec
from activefreq.evaluation.results import ImageResult
from activefreq.evaluation.robot import RemoteBackend, ServerError
from activefreq.evaluation.rollout import RolloutConfig
from activefreq.evaluation.runner import evaluate
from activefreq.models.checkpoint import checkpoint_hash

pytestmark = pytest.mark.server


@pytest.fixture
def labels(server: Server, tmp_path: Path) -> Path:
    """Masks for a picture and a volume that the server has."""
    folder = tmp_path / "labels"
    folder.mkdir()
    height, width = np.asarray(Image.open(server.studies / "good_colour.png")).shape[:2]
    y, x = np.mgrid[:height, :width]
    Image.fromarray(((y - 30) ** 2 + (x - 50) ** 2 < 400).astype(np.uint8) * 255).save(folder / "good_colour.png")
    volume = sitk.ReadImage(str(server.studies / "good_sagittal.nii.gz"))
    mask = sitk.GetArrayFromImage(volume) * 0
    mask[3:5, 2:7, 5:25] = 1
    label = sitk.GetImageFromArray(mask.astype(np.uint8))
    label.CopyInformation(volume)
    sitk.WriteImage(label, str(folder / "good_sagittal.nii.gz"))
    return folder


def timeless(results: list[ImageResult]) -> list[ImageResult]:
    return [
        dataclasses.replace(
            result,
            # The robot sees no probabilities, so the scores of regions are not the model's.
            clicks=tuple(
                dataclasses.replace(click, seconds=0.0, mpe=None, ape=None, rgu=None, score=None)
                for click in result.clicks
            ),
        )
        for result in results
    ]


def test_the_robot_gets_the_same_masks_and_the_same_clicks(
    server: Server, labels: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    source = find_samples(server.studies, labels, include={"good_colour", "good_sagittal"})
    plan = Plan(
        policies=(PolicySpec("standard", "standard"), PolicySpec("area", "area")),
        rollout=RolloutConfig(max_clicks=5, nsd_at=(1, 5)),
    )
    remote = RemoteBackend(url=server.url)
    described = remote.describe()
    assert described["server"] == server.url
    assert described["model_version"] == checkpoint_hash(tiny_checkpoint)[:12]
    assert described["mirrors"] is None
    over_rest = evaluate(plan, source, remote, tmp_path / "rest", progress=False)
    here = evaluate(
        plan, source, LocalBackendFactory(checkpoint=tiny_checkpoint, device="cpu"), tmp_path / "here", progress=False
    )
    assert over_rest is not None
    assert here is not None
    assert [result.name for result in here.results["standard"]] == list(source.names)
    assert len(source) == 3
    for label, results in here.results.items():
        assert timeless(over_rest.results[label]) == timeless(results)
    signs = {click.positive for results in here.results.values() for result in results for click in result.clicks}
    assert signs == {True, False}


def test_an_image_that_the_server_does_not_have_is_named(server: Server) -> None:
    with pytest.raises(InputError, match="the server has no image nowhere"):
        RemoteBackend(url=server.url).open("nowhere#k=3", np.zeros((4, 4)))


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(ServerError, match=r"cannot reach http://127\.0\.0\.1:9"):
        RemoteBackend(url="http://127.0.0.1:9").describe()


def test_a_task_that_is_not_served_is_named(server: Server) -> None:
    with pytest.raises(ServerError, match="serves activefreq, activefreq_auto, activefreq_regions, but not other"):
        RemoteBackend(url=server.url, model="other").describe()
