"""OHIF, as it ships with MONAI Label, in a real browser on a real DICOMweb server."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from dicomweb import Studies
from playwright.sync_api import Response
from server import Server
from viewer import Viewer

from activefreq import Click, InteractiveSegmenter
from activefreq.files.grids import Volume
from activefreq.files.volumes import read_label_volume, read_volume
from activefreq.session import prepare_image
from activefreq.session.automatic import automatic_probability
from activefreq.session.replay import ClickReplay

pytestmark = pytest.mark.browser

Voxel = tuple[int, int, int]


def served_volume(server: Server, series: str, folder: Path) -> Volume:
    """An image as the app reads it."""
    answer = requests.get(f"{server.url}/datastore/image", {"image": series}, timeout=120)
    answer.raise_for_status()
    (folder / "image.nii.gz").write_bytes(answer.content)
    return read_volume(folder / "image.nii.gz")


def sent(answer: Response) -> dict[str, Any]:
    """The params of an inference request."""
    params = re.search(r'name="params"\s+(\{.*?\})\s', answer.request.post_data or "")
    assert params
    parsed: dict[str, Any] = json.loads(params[1])
    return parsed


def slice_mask(
    segmenter: InteractiveSegmenter, volume: Volume, positives: list[Voxel], negatives: Sequence[Voxel] = ()
) -> np.ndarray:
    """What the session in this process answers to clicks on one slice: (K, J, I), with only that slice marked."""
    k = positives[0][2]
    answer = ClickReplay(segmenter).answer(
        "image",
        prepare_image(volume.array[k]),
        [Click(j, i) for i, j, _ in positives],
        [Click(j, i, positive=False) for i, j, _ in negatives],
    )
    mask = np.zeros(volume.array.shape[:3], np.uint8)
    mask[k] = segmenter.predict(volume.array[k], answer.state.clicks).mask
    np.testing.assert_array_equal(mask[k], answer.state.mask)
    return mask


def open_point_prompts(viewer: Viewer, study: str) -> None:
    viewer.open(study)
    viewer.connect()
    viewer.open_tab("Point Prompts")
    viewer.choose_structure("lesion")


# The voxels are pixels that a person can hit: the plane is drawn larger than its voxels.
@pytest.mark.parametrize(
    ("name", "foreground", "background", "second"),
    [
        ("photograph-1", (60, 44, 1), (20, 20, 1), (72, 50, 1)),
        ("scan-1", (30, 24, 4), (10, 40, 4), (20, 30, 7)),
    ],
)
def test_clicks_are_answered_with_the_masks_of_the_session(
    viewer: Viewer,
    server: Server,
    studies: Studies,
    segmenter: InteractiveSegmenter,
    tmp_path: Path,
    name: str,
    foreground: Voxel,
    background: Voxel,
    second: Voxel,
) -> None:
    series = studies.series[name]
    open_point_prompts(viewer, series.study_uid)
    volume = served_volume(server, series.series_uid, tmp_path)
    assert viewer.label_map().shape == volume.array.shape[:3]
    assert not viewer.label_map().any()

    viewer.click_voxel(*foreground)
    viewer.choose_structure("background")
    viewer.click_voxel(*background)
    viewer.choose_structure("lesion")
    answer = viewer.run()
    assert answer.status == 200
    assert f"image={series.series_uid}" in answer.url
    assert (sent(answer)["foreground"], sent(answer)["background"]) == ([[*foreground]], [[*background]])
    first = slice_mask(segmenter, volume, [foreground], [background])
    assert first[foreground[::-1]]
    assert not first[background[::-1]]
    np.testing.assert_array_equal(viewer.label_map(), first)

    # Another click, in the scan on another slice: what was marked there stays.
    viewer.click_voxel(*second)
    viewer.run()
    if second[2] == foreground[2]:
        expected = slice_mask(segmenter, volume, [foreground, second], [background])
    else:
        expected = first + slice_mask(segmenter, volume, [second])
    assert (expected != first).any()
    np.testing.assert_array_equal(viewer.label_map(), expected)


def test_all_slices_are_segmented_without_a_click_and_one_is_corrected(
    viewer: Viewer, server: Server, studies: Studies, segmenter: InteractiveSegmenter, tmp_path: Path
) -> None:
    series = studies.series["scan-1"]
    viewer.open(series.study_uid)
    viewer.connect()
    volume = served_volume(server, series.series_uid, tmp_path)
    viewer.open_tab("Auto-Segmentation")
    answer = viewer.run("Segmentation")
    assert "/infer/activefreq_auto?" in answer.url
    network = segmenter.model
    expected = np.stack([automatic_probability(network, prepare_image(one)) > 0.5 for one in volume.array])
    assert expected.any()
    np.testing.assert_array_equal(viewer.label_map(), expected)

    viewer.open_tab("Point Prompts")
    viewer.choose_structure("lesion")
    viewer.click_voxel(30, 24, 4)
    viewer.run()
    expected[4] = slice_mask(segmenter, volume, [(30, 24, 4)])[4]
    np.testing.assert_array_equal(viewer.label_map(), expected)


def test_an_oblique_scan_is_shown_slice_by_slice_as_it_was_acquired(viewer: Viewer, studies: Studies) -> None:
    """Else a mask, which belongs to one slice, would show as a band."""
    viewer.open(studies.series["scan-1"].study_uid)
    normal, through = viewer.plane("mpr-axial")
    assert abs(np.dot(normal, through)) == pytest.approx(1, abs=1e-6)
    assert np.abs(through).max() < 0.99
    for other in ("mpr-sagittal", "mpr-coronal"):
        assert np.abs(viewer.plane(other)[0]).max() == pytest.approx(1)


@pytest.mark.parametrize("strategy", ["random", "acselect"])
def test_the_next_sample_opens(viewer: Viewer, studies: Studies, strategy: str) -> None:
    viewer.open(studies.series["photograph-1"].study_uid)
    viewer.connect()
    offered = viewer.next_sample(None if strategy == "random" else strategy)
    known = {series.series_uid: series.study_uid for series in studies.series.values()}
    assert known[offered["SeriesInstanceUID"]] == offered["StudyInstanceUID"]
    viewer.open_offered()
    assert viewer.page.url.endswith(f"StudyInstanceUIDs={offered['StudyInstanceUID']}")


def test_the_model_is_updated_and_the_update_is_stopped(viewer: Viewer, studies: Studies) -> None:
    viewer.open(studies.series["photograph-1"].study_uid)
    viewer.connect()
    viewer.open_tab("Active Learning")
    assert viewer.press_training("Update Model").status == 200
    assert viewer.press_training("Stop Training").status == 200


def test_a_submitted_mask_is_the_final_label(viewer: Viewer, server: Server, studies: Studies, tmp_path: Path) -> None:
    series = studies.series["scan-2"]
    viewer.open(series.study_uid)
    assert viewer.submit() == "failed: connect to the server in the MONAI Label panel first"
    viewer.connect()
    assert viewer.submit() == "failed: there is no lesion in the image"
    viewer.open_tab("Point Prompts")
    viewer.choose_structure("lesion")
    viewer.click_voxel(24, 28, 5)
    viewer.run()
    before = requests.get(f"{server.url}/info/", timeout=120).json()["datastore"]["completed"]
    assert viewer.submit() == "saved"

    assert requests.get(f"{server.url}/info/", timeout=120).json()["datastore"]["completed"] == before + 1
    rows = requests.get(f"{server.url}/datastore/?output=train", timeout=120).json()
    (row,) = [row for row in rows if series.series_uid in row["image"]]
    label = read_label_volume(row["label"])
    np.testing.assert_array_equal(label.array, viewer.label_map())
    assert label.geometry.matches(read_volume(row["image"]).geometry)

    stored = studies.client.search_for_series(series.study_uid, search_filters={"Modality": "SEG"})
    assert len(stored) == 1
    info = requests.get(
        f"{server.url}/datastore/label/info", {"label": series.series_uid, "tag": "final"}, timeout=120
    ).json()
    assert info["SeriesInstanceUID"] == stored[0]["0020000E"]["Value"][0]
