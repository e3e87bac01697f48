"""The whole path, through a real server process: images in, clicks in, masks out, labels saved."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import SimpleITK as sitk
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException
from server import Server

from activefreq import Click, InteractiveSegmenter
from activefreq.files.grids import Geometry, Volume
from activefreq.files.volume_writing import write_mask
from activefreq.files.volumes import read_volume

pytestmark = pytest.mark.server

Point = list[int]


def infer(client: MONAILabelClient, image: str, foreground: Any, background: Any = (), **params: Any) -> Any:
    """Asks as 3D Slicer does; returns the answered file and its params."""
    request = {"label": "lesion", "foreground": foreground, "background": list(background), **params}
    return client.infer("activefreq", image, {"result_extension": ".nrrd", "result_dtype": "uint8", **request})


def expected_mask(session: InteractiveSegmenter, volume: Volume, clicks: list[Point]) -> np.ndarray:
    """What the session in this process answers to (i, j, k, sign) clicks: (K, J, I) bool."""
    mask = np.zeros(volume.array.shape[:3], bool)
    for k in {click[2] for click in clicks}:
        of_slice = [Click(j, i, positive=bool(sign)) for i, j, at, sign in clicks if at == k]
        mask[k] = session.predict(volume.array[k], of_slice).mask
    return mask


def answered_mask(file: str) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(file))


def test_info_tells_the_clients_what_they_need(client: MONAILabelClient) -> None:
    info = client.info()
    model = info["models"]["activefreq"]
    assert (model["type"], model["dimension"], model["labels"]) == ("deepgrow", 2, {"lesion": 1})
    assert info["labels"] == ["lesion"]
    assert "random" in info["strategies"]


def test_the_next_sample_can_be_downloaded(client: MONAILabelClient, server: Server) -> None:
    sample = client.next_sample("random", {})
    path = Path(sample["path"])
    assert path.parent == server.studies
    answer = requests.get(f"{server.url}/datastore/image", params={"image": sample["id"]}, timeout=60)
    assert answer.content == path.read_bytes()


GROWING_2D: list[tuple[list[Point], list[Point]]] = [
    ([[250, 190, 0]], []),
    ([[250, 190, 0]], [[40, 300, 0]]),
    ([[250, 190, 0], [300, 220, 0]], [[40, 300, 0]]),
    ([[250, 190, 0], [300, 220, 0]], [[40, 300, 0], [200, 200, 0]]),
    ([], [[200, 200, 0]]),
]
GROWING_3D: list[tuple[list[Point], list[Point]]] = [
    ([[35, 60, 9]], []),
    ([[35, 60, 9], [36, 62, 10]], []),
    ([[35, 60, 9], [36, 62, 10]], [[80, 30, 9]]),
    ([[35, 60, 9], [36, 62, 10], [30, 64, 9], [10, 12, 0]], [[80, 30, 9], [20, 100, 19]]),
]


@pytest.mark.parametrize(
    ("image", "file", "growing"),
    [("dermoscopy", "dermoscopy.jpg", GROWING_2D), ("mr_oblique", "mr_oblique.nii.gz", GROWING_3D)],
)
def test_growing_clicks_end_in_a_saved_label(
    client: MONAILabelClient,
    server: Server,
    session: InteractiveSegmenter,
    tmp_path: Path,
    image: str,
    file: str,
    growing: list[tuple[list[Point], list[Point]]],
) -> None:
    volume = read_volume(server.studies / file)
    for foreground, background in growing:
        answer, params = infer(client, image, foreground, background)
        clicks = params["clicks"]
        assert sorted(click[:3] for click in clicks if click[3]) == sorted(foreground)
        assert sorted(click[:3] for click in clicks if not click[3]) == sorted(background)
        mask = answered_mask(answer)
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, expected_mask(session, volume, clicks))
        assert [entry["k"] for entry in params["slices"]] == sorted({point[2] for point in foreground + background})
        assert [entry["pixels"] for entry in params["slices"]] == [int(mask[e["k"]].sum()) for e in params["slices"]]
        assert params["label_names"] == {"lesion": 1}

    label = tmp_path / "label.nii.gz"
    write_mask(label, mask, like=volume)
    saved = client.save_label(image, str(label), "final", {"label_info": [{"name": "lesion", "idx": 1}]})
    assert saved["image"] == image
    stored = server.studies / "labels" / "final" / f"{image}.nii.gz"
    assert stored.read_bytes() == label.read_bytes()
    entry = client.datastore()["objects"][image]
    assert entry["labels"]["final"]["info"]["label_info"] == [{"name": "lesion", "idx": 1}]
    assert client.next_sample("first", {})["id"] != image


GOOD = {
    "good_dpi": "jpg",
    "good_capitals": "JPG",
    "good_colour": "png",
    "good_grey": "png",
    "good_deep": "png",
    "good_deep_tiff": "tif",
    "good_deep_colour": "tif",
    "good_slice": "dcm",
    "good_volume": "nrrd",
    "good_sagittal": "nii.gz",
    "good_colour_nifti": "nii.gz",
}


@pytest.mark.parametrize("image", GOOD)
@pytest.mark.parametrize("extension", [".nrrd", ".nii.gz"])
def test_masks_of_every_kind_of_image_have_its_grid(
    client: MONAILabelClient, server: Server, session: InteractiveSegmenter, image: str, extension: str
) -> None:
    volume = read_volume(server.studies / f"{image}.{GOOD[image]}")
    slices, rows, columns = volume.array.shape[:3]
    k = slices // 2
    foreground, background = [[columns // 2, rows // 2, k]], [[1, rows - 2, k]]
    answer, params = infer(client, image, foreground, background, result_extension=extension)
    np.testing.assert_array_equal(answered_mask(answer), expected_mask(session, volume, params["clicks"]))
    assert answer.endswith(extension)

    mask = sitk.ReadImage(answer)
    assert mask.GetSize() == (columns, rows, slices)
    tolerance = {"atol": 1e-5} if extension == ".nii.gz" else {"atol": 1e-9}
    np.testing.assert_allclose(mask.GetSpacing(), volume.geometry.spacing, **tolerance)
    np.testing.assert_allclose(mask.GetOrigin(), volume.geometry.origin, **tolerance)
    np.testing.assert_allclose(mask.GetDirection(), volume.geometry.direction, **tolerance)


def test_the_clicked_voxel_is_what_was_clicked(client: MONAILabelClient, server: Server) -> None:
    """Voxel indices are the file's own, so a click and its mask cannot part, whatever the orientation."""
    volume = read_volume(server.studies / "good_sagittal.nii.gz")
    slices, rows, columns = volume.array.shape
    assert (columns, rows, slices) == (9, 48, 40)
    points = [[1, 40, 3], [7, 5, 39], [4, 20, 0]]
    answer, _ = infer(client, "good_sagittal", points[:2], points[2:])
    mask = sitk.ReadImage(answer)
    assert [mask[point] for point in points] == [1, 1, 0]


def test_only_slices_with_clicks_change_a_previous_mask(
    client: MONAILabelClient, server: Server, session: InteractiveSegmenter, tmp_path: Path
) -> None:
    volume = read_volume(server.studies / "good_volume.nrrd")
    before = np.zeros(volume.array.shape, bool)
    before[2:7, 10:20, 12:30] = True
    write_mask(tmp_path / "before.nii.gz", before, like=volume)
    request = {"foreground": [[40, 30, 4], [5, 5, 8]], "background": [[13, 11, 4]], "label": "lesion"}
    answer, params = client.infer("activefreq", "good_volume", request, label_in=str(tmp_path / "before.nii.gz"))

    mask = answered_mask(answer) == 1
    unclicked = [k for k in range(9) if k not in (4, 8)]
    np.testing.assert_array_equal(mask[unclicked], before[unclicked])
    clicks = [Click(j, i, positive=bool(sign)) for i, j, k, sign in params["clicks"] if k == 4]
    expected = session.predict(volume.array[4], clicks, previous_mask=before[4])
    np.testing.assert_array_equal(mask[4], expected.mask)
    np.testing.assert_array_equal(mask[8], session.predict(volume.array[8], [Click(5, 5)]).mask)


def test_a_previous_mask_whose_voxels_lie_in_another_order_is_turned(
    client: MONAILabelClient, server: Server, tmp_path: Path
) -> None:
    volume = read_volume(server.studies / "good_volume.nrrd")
    before = np.zeros(volume.array.shape, bool)
    before[2:7, 10:20, 12:30] = True
    write_mask(tmp_path / "before.nii.gz", before, like=volume)
    image = sitk.ReadImage(str(tmp_path / "before.nii.gz"))
    sitk.WriteImage(sitk.Flip(image, (True, False, True)), str(tmp_path / "flipped.nii.gz"))
    assert not np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "flipped.nii.gz"))), before)
    answer, _ = client.infer("activefreq", "good_volume", {}, label_in=str(tmp_path / "flipped.nii.gz"))
    np.testing.assert_array_equal(answered_mask(answer) == 1, before)


@pytest.mark.parametrize("params", [{}, {"foreground": [], "background": []}])
def test_no_click_is_answered_with_an_empty_mask(client: MONAILabelClient, params: dict[str, Any]) -> None:
    answer, facts = client.infer("activefreq", "good_volume", params)
    mask = answered_mask(answer)
    assert mask.shape == (9, 40, 48)
    assert not mask.any()
    assert facts["clicks"] == []


def test_an_answer_depends_on_the_request_alone(client: MONAILabelClient) -> None:
    request = ([[20, 20, 4], [30, 10, 4], [22, 30, 4]], [[5, 5, 4], [40, 30, 4]])
    first, facts = infer(client, "good_volume", *request)
    first_bytes = Path(first).read_bytes()
    for detour in [([[20, 20, 4]], [[40, 30, 4]]), (request[0][::-1], request[1]), ([], request[1]), ([], [])]:
        infer(client, "good_volume", *detour)
    again, facts_again = infer(client, "good_volume", *request)
    assert Path(again).read_bytes() == first_bytes
    assert facts_again["clicks"] == facts["clicks"]


def test_a_further_click_costs_one_pass_and_a_repeated_one_none(client: MONAILabelClient) -> None:
    points = [[30, 20, 2], [31, 22, 2], [33, 24, 2]]
    passes = [infer(client, "good_volume", points[:count])[1]["slices"][0]["passes"] for count in (1, 2, 3, 3)]
    assert passes == [1, 1, 1, 0]


def test_ohif_gets_a_plain_nrrd_of_the_whole_volume(
    server: Server, session: InteractiveSegmenter, tmp_path: Path
) -> None:
    params = {
        "foreground": [[15, 30, 5]],
        "background": [],
        "result_extension": ".nrrd",
        "result_dtype": "uint8",
        "result_compress": False,
        "restore_label_idx": False,
    }
    answer = requests.post(
        f"{server.url}/infer/activefreq?image=good_volume&output=image",
        files={"params": (None, json.dumps(params))},
        timeout=60,
    )
    assert answer.ok
    header, _, body = answer.content.partition(b"\n\n")
    assert b"encoding: raw" in header
    assert b"sizes: 48 40 9" in header
    mask = np.frombuffer(body, np.uint8).reshape(9, 40, 48)
    volume = read_volume(server.studies / "good_volume.nrrd")
    np.testing.assert_array_equal(mask, expected_mask(session, volume, [[15, 30, 5, 1]]))


def test_params_alone_can_be_asked_for(server: Server) -> None:
    answer = requests.post(
        f"{server.url}/infer/activefreq?image=good_grey&output=json",
        data={"params": json.dumps({"foreground": [[1, 2, 0]]})},
        timeout=60,
    )
    assert answer.json()["clicks"] == [[1, 2, 0, 1]]


def test_an_uploaded_image_is_segmented_in_a_session(
    client: MONAILabelClient, server: Server, session: InteractiveSegmenter
) -> None:
    path = server.studies / "good_volume.nrrd"
    created = client.create_session(str(path))
    answer, facts = client.infer("activefreq", "", {"foreground": [[20, 20, 4]]}, session_id=created["session_id"])
    expected = expected_mask(session, read_volume(path), facts["clicks"])
    np.testing.assert_array_equal(answered_mask(answer), expected)


def test_an_uploaded_file_is_segmented(client: MONAILabelClient, server: Server) -> None:
    path = server.studies / "good_colour.png"
    answer, _ = client.infer("activefreq", "", {"foreground": [[20, 20, 0]]}, file=str(path))
    expected, _ = infer(client, "good_colour", [[20, 20, 0]])
    np.testing.assert_array_equal(answered_mask(answer), answered_mask(expected))


def refused(server: Server, image: str, params: Any, *, model: str = "activefreq", query: str = "") -> tuple[int, str]:
    """Posts a request; returns the status and what is said."""
    answer = requests.post(
        f"{server.url}/infer/{model}?image={image}{query}",
        files={"params": (None, params if isinstance(params, str) else json.dumps(params))},
        timeout=60,
    )
    assert requests.get(f"{server.url}/info/", timeout=60).ok, "the server must live on"
    return answer.status_code, answer.text


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"foreground": [[96, 10, 0]]}, "foreground point 1 at [96, 10, 0] is outside the image of 96 x 72 x 1"),
        ({"foreground": [[10, 10, 0]], "background": [[0, 0, 1]]}, "background point 1 at [0, 0, 1] is outside"),
        ({"foreground": [[-1, 10, 0]]}, "is outside the image"),
        ({"foreground": [["a", 10, 0]]}, "must be whole numbers"),
        ('{"foreground": [[NaN, 10, 0]]}', "NaN is no number of JSON"),
        ('{"foreground": [[1e999, 10, 0]]}', "params holds inf, which is no number of JSON"),
        ({"foreground": [[10, 10]]}, "must be three numbers"),
        ({"foreground": [[10, 10, 0, 0]]}, "must be three numbers"),
        ({"foreground": [10, 10, 0]}, "must be three numbers"),
        ({"foreground": 7}, "foreground must be a list"),
        ({"result_extension": ".jpg"}, "result_extension must be one of .nrrd, .nii.gz, .nii"),
        ("{not json", "params is not JSON"),
        ("[1, 2]", "params must be a JSON object"),
        ({"image": "good_grey"}, "params must not set 'image'"),
        ({"model": "other"}, "params must not set 'model'"),
        ({"session": {"image": "/etc/passwd"}}, "params must not set 'session'"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(server: Server, params: Any, message: str) -> None:
    status, text = refused(server, "good_colour", params)
    assert (status, message in json.loads(text)["detail"]) == (422, True), text


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("bad_empty", "bad_empty.png: the file is empty"),
        ("bad_noise", "bad_noise.nii.gz: cannot be read"),
        ("bad_text", "bad_text.jpg: is no picture"),
        ("bad_four", "bad_four.nii.gz: has 4 dimensions (8 x 8 x 4 x 3), but 3 are needed"),
        ("bad_huge", "bad_huge.png: slices of 12000 x 12000 pixels are more than 64000000 pixels"),
        ("bad_nan", "bad_nan.nii.gz: holds no values but NaN or infinite ones"),
        ("bad_cut", "bad_cut.png: cannot be decoded"),
    ],
)
def test_a_bad_image_is_told_what_is_wrong(server: Server, image: str, message: str) -> None:
    status, text = refused(server, image, {"foreground": [[1, 1, 0]]})
    assert (status, json.loads(text)["detail"].startswith(message)) == (422, True), text
    assert str(server.studies) not in text


@pytest.mark.parametrize(
    ("image", "query", "status"),
    [
        ("unknown", "", 404),
        ("/etc/passwd", "", 404),
        ("../studies/good_grey.png", "", 404),
        ("", "", 422),
        ("", "&session_id=unknown", 404),
    ],
)
def test_an_image_outside_the_studies_is_refused(server: Server, image: str, query: str, status: int) -> None:
    assert refused(server, image, {"foreground": [[1, 1, 0]]}, query=query)[0] == status


def test_an_absolute_path_to_a_real_image_is_refused(server: Server) -> None:
    assert refused(server, str(server.studies / "good_grey.png"), {})[0] == 404


def test_an_unknown_model_or_strategy_is_refused(server: Server) -> None:
    status, text = refused(server, "good_grey", {}, model="nope")
    assert (status, "there is no model 'nope'" in text) == (404, True)
    answer = requests.post(f"{server.url}/activelearning/nope", json={}, timeout=60)
    assert (answer.status_code, "there is no strategy 'nope'" in answer.text) == (404, True)


def test_a_previous_mask_of_another_size_is_refused(client: MONAILabelClient, server: Server, tmp_path: Path) -> None:
    volume = read_volume(server.studies / "good_grey.png")
    write_mask(tmp_path / "other.nii.gz", np.zeros(volume.geometry.shape, bool), like=volume)
    with pytest.raises(MONAILabelClientException) as caught:
        client.infer("activefreq", "good_volume", {"label": "x"}, label_in=str(tmp_path / "other.nii.gz"))
    assert "Status: 422" in caught.value.msg
    assert "previous mask" in caught.value.msg


def test_a_previous_mask_that_cannot_be_read_is_told_of_without_where_it_was_put(
    client: MONAILabelClient, tmp_path: Path
) -> None:
    (tmp_path / "other.nii.gz").write_bytes(b"no mask")
    with pytest.raises(MONAILabelClientException) as caught:
        client.infer("activefreq", "good_volume", {"label": "x"}, label_in=str(tmp_path / "other.nii.gz"))
    assert "Status: 422" in caught.value.msg
    assert "the previous mask" in caught.value.msg
    assert tempfile.gettempdir() not in caught.value.msg


@pytest.mark.parametrize("tag", ["../../outside", "a/b", "..", "/tmp/x"])
def test_a_label_cannot_be_saved_outside_the_studies(server: Server, tmp_path: Path, tag: str) -> None:
    label = tmp_path / "label.nrrd"
    write_mask(label, np.ones((1, 2, 2), bool), like=Geometry((1, 2, 2)))
    before = sorted(server.studies.parent.rglob("*"))
    with label.open("rb") as file:
        answer = requests.put(
            f"{server.url}/datastore/label",
            params={"image": "good_grey", "tag": tag},
            files={"label": file},
            timeout=60,
        )
    assert answer.status_code == 422
    assert sorted(server.studies.parent.rglob("*")) == before
