"""Active learning through a real server: scores, next samples, suggestions and their label map."""

from __future__ import annotations

import io
import json
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import SimpleITK as sitk
from PIL import Image
from server import Server, running_server

from activefreq import Click, InteractiveSegmenter
from activefreq.acselect.suggestions import suggest_regions
from activefreq.data.sample_studies import dermoscopy_like
from activefreq.files.volumes import read_volume
from activefreq.session.automatic import automatic_probability
from activefreq.session.state import prepare_image
from lib.active_store import ActiveStores

pytestmark = [pytest.mark.server, pytest.mark.timeout(1800)]

# Scoring has the lowest priority: on a machine that does other work it waits.
SECONDS = 1500


def post(server: Server, path: str, **body: Any) -> Any:
    answer = requests.post(f"{server.url}{path}", json=body, timeout=120)
    assert answer.ok, f"{answer.status_code}: {answer.text}\n{server.tail()}"
    return answer.json()


def infer(server: Server, model: str, image: str, **params: Any) -> tuple[dict[str, Any], np.ndarray]:
    """Facts and label map (K, J, I) that a model answers."""
    address = f"{server.url}/infer/{model}"
    form = {"params": json.dumps({"result_extension": ".nrrd", **params})}
    facts = requests.post(address, params={"image": image, "output": "json"}, data=form, timeout=120)
    file = requests.post(address, params={"image": image, "output": "image"}, data=form, timeout=120)
    assert facts.ok, facts.text
    assert file.ok, file.text
    return facts.json(), _read(file.content)


def _read(content: bytes) -> np.ndarray:
    with tempfile.NamedTemporaryFile(suffix=".nrrd") as file:
        file.write(content)
        file.flush()
        return sitk.GetArrayFromImage(sitk.ReadImage(file.name))


@pytest.fixture(scope="module")
def scored(server: Server) -> Server:
    """The server once the scoring that it began at its start has ended."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        answer = requests.get(f"{server.url}/scoring/", timeout=60)
        if answer.ok and answer.json()["status"] not in ("SUBMITTED", "RUNNING"):
            assert answer.json()["status"] == "DONE", answer.json()
            return server
        time.sleep(1)
    raise AssertionError(f"scoring did not end:\n{server.tail()}")


def test_tells_the_clients_what_there_is(server: Server) -> None:
    info = requests.get(f"{server.url}/info/", timeout=60).json()
    assert info["models"]["activefreq_auto"]["type"] == "segmentation"
    assert info["models"]["activefreq_auto"]["labels"] == info["models"]["activefreq"]["labels"]
    assert info["models"]["activefreq_regions"]["type"] == "segmentation"
    assert info["models"]["activefreq_regions"]["labels"] == {"suggested_add": 1, "suggested_remove": 2}
    assert {"acselect", "acselect_score", "random", "entropy", "foreground_random"} <= set(info["strategies"])
    assert set(info["scoring"]) == {"acselect"}


def test_the_most_doubtful_image_is_next_and_no_one_gets_anothers(scored: Server) -> None:
    samples = [post(scored, "/activelearning/acselect_score", client_id=client) for client in ("anna", "bert", "carl")]
    assert len({sample["id"] for sample in samples}) == 3
    scores = [sample["score"] for sample in samples]
    assert scores == sorted(scores, reverse=True)
    assert not any(sample["id"].startswith("bad_") for sample in samples)
    for sample in samples:
        assert 0 <= sample["slice"] < len(read_volume(sample["path"]).array)
    again = post(scored, "/activelearning/acselect", client_id="anna")
    assert again["id"] not in {sample["id"] for sample in samples}


def test_two_browsers_are_two_people_though_ohif_does_not_say_who_asks(scored: Server) -> None:
    browsers = [requests.Session() for _ in range(2)]
    for browser in browsers:
        for _ in range(2):
            browser.get(f"{scored.url}/ohif/app-config.js", timeout=60).raise_for_status()
    names = [browser.cookies.get("activefreq_client") for browser in browsers]
    assert all(re.fullmatch("browser-[0-9a-f]{16}", name or "") for name in names)
    assert len(set(names)) == 2
    given = [
        browser.post(f"{scored.url}/activelearning/acselect", json={}, timeout=60).json()["id"] for browser in browsers
    ]
    anonymous = post(scored, "/activelearning/acselect")["id"]
    assert len({*given, anonymous}) == 3
    # What the first one was given is not given to others, whatever the second one was given since.
    for name, image in zip(names, given, strict=True):
        assert reservations(scored)[image] == name


def reservations(server: Server) -> dict[str, str]:
    """Who has which image."""
    return ActiveStores().of(server.studies).reserved()


@pytest.mark.parametrize("strategy", ["acselect", "acselect_score", "random", "entropy", "foreground_random", "first"])
def test_every_strategy_gives_an_image_without_a_label_and_another_after_a_skip(scored: Server, strategy: str) -> None:
    first, second = (post(scored, f"/activelearning/{strategy}", client_id=f"at {strategy}") for _ in range(2))
    assert {first["id"], second["id"]} <= {path.name.split(".")[0] for path in scored.studies.iterdir()}
    # MONAI Label's own strategy knows no turns.
    assert first["id"] != second["id"] or strategy == "first"


def test_a_sample_starts_no_scoring_when_all_is_scored(scored: Server) -> None:
    before = requests.get(f"{scored.url}/scoring/", params={"all": True}, timeout=60).json()
    post(scored, "/activelearning/random")
    after = requests.get(f"{scored.url}/scoring/", params={"all": True}, timeout=60).json()
    assert len(after) == len(before)


def test_scoring_on_request_keeps_what_is_good(scored: Server) -> None:
    answer = requests.post(f"{scored.url}/scoring/acselect", params={"run_sync": True}, timeout=120).json()
    assert answer["kept"] > 10
    assert answer["scored"] <= 1


def test_a_click_is_answered_with_suggestions(server: Server, session: InteractiveSegmenter) -> None:
    facts, _ = infer(server, "activefreq", "good_colour", foreground=[[40, 30, 0]])
    image = read_volume(server.studies / "good_colour.png").array[0]
    session.set_image(image)
    result = session.click(30, 40)
    clicked = np.zeros(image.shape[:2], bool)
    clicked[30, 40] = True
    expected = suggest_regions(result.probability, clicked=clicked)
    assert len(expected) > 0
    assert [one["click"] for one in facts["suggestions"]] == [[e.click.x, e.click.y, 0] for e in expected]
    assert [one["positive"] for one in facts["suggestions"]] == [e.click.positive for e in expected]


def test_the_second_task_shows_the_suggestions_of_the_last_clicks(server: Server) -> None:
    clicks = {"foreground": [[20, 22, 4]], "background": [], "client_id": "emma"}
    clicked, mask = infer(server, "activefreq", "good_volume", **clicks)
    facts, labels = infer(server, "activefreq_regions", "good_volume", client_id="emma")
    assert facts["by_clicks"]
    assert facts["suggestions"] == clicked["suggestions"] != []
    assert labels.shape == mask.shape
    # Only the slice with clicks has suggestions; what is to be added lies outside the mask, the rest inside.
    assert not np.delete(labels, 4, axis=0).any()
    assert not mask[labels == 1].any()
    assert mask[labels == 2].all()
    assert set(facts["label_names"].values()) == set(np.unique(labels)) - {0}
    explicit, same = infer(server, "activefreq_regions", "good_volume", **clicks)
    assert explicit["suggestions"] == facts["suggestions"]
    np.testing.assert_array_equal(same, labels)


@pytest.mark.parametrize("image", ["good_volume", "good_sagittal", "good_colour", "good_masked", "good_deep"])
def test_every_slice_is_segmented_without_a_click(server: Server, session: InteractiveSegmenter, image: str) -> None:
    facts, mask = infer(server, "activefreq_auto", image)
    (path,) = server.studies.glob(f"{image}.*")
    slices = read_volume(path).array
    seen = [automatic_probability(session.model, prepare_image(one)) > 0.5 for one in slices]
    np.testing.assert_array_equal(mask, seen)
    assert facts["slices"] == [{"k": k, "pixels": int(one.sum())} for k, one in enumerate(seen) if one.any()]
    assert facts["label_names"] == {"lesion": 1}


def test_without_a_click_the_second_task_answers_what_the_model_sees(
    server: Server, session: InteractiveSegmenter
) -> None:
    facts, labels = infer(server, "activefreq_regions", "good_volume", client_id="nobody")
    assert not facts["by_clicks"]
    slices = read_volume(server.studies / "good_volume.nrrd").array
    for k in range(len(slices)):
        seen = automatic_probability(session.model, prepare_image(slices[k])) > 0.5
        assert seen[labels[k] > 0].all()
        assert (labels[k] == 1).any() == seen.any()
        for one in facts["suggestions"]:
            i, j, at = one["click"]
            assert one["positive"]
            assert at != k or seen[j, i]


def test_images_that_cannot_be_used_are_refused_by_the_second_task(server: Server) -> None:
    for image, status in (("bad_text", 422), ("no_such", 404)):
        for task in ("activefreq_regions", "activefreq_auto"):
            answer = requests.post(f"{server.url}/infer/{task}", params={"image": image}, timeout=60)
            assert answer.status_code == status


def test_a_click_at_the_suggested_place_can_be_made(server: Server) -> None:
    facts, _ = infer(server, "activefreq", "good_grey", foreground=[[40, 30, 0]])
    first = facts["suggestions"][0]
    side = "foreground" if first["positive"] else "background"
    points = {"foreground": [[40, 30, 0]], "background": []}
    points[side].append(first["click"])
    after, mask = infer(server, "activefreq", "good_grey", **points)
    i, j, k = first["click"]
    assert bool(mask[k, j, i]) == first["positive"]
    assert Click(j, i, first["positive"]) in [Click(c[1], c[0], bool(c[3])) for c in after["clicks"]]


@pytest.mark.slow
def test_a_folder_that_is_empty_then_filled_then_labelled(tiny_checkpoint: Path, tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    studies.mkdir()
    with running_server(studies, tmp_path, conf={"checkpoint": str(tiny_checkpoint), "device": "cpu"}) as server:
        assert post(server, "/activelearning/acselect") == {}
        assert requests.post(f"{server.url}/scoring/acselect", params={"run_sync": True}, timeout=300).ok
        image = dermoscopy_like((48, 64)).image
        for name in ("one", "two"):
            body = io.BytesIO()
            Image.fromarray(image).save(body, "png")
            answer = requests.put(
                f"{server.url}/datastore/", params={"image": name}, files={"file": (f"{name}.png", body.getvalue())}
            )
            assert answer.ok, answer.text
        scored = requests.post(f"{server.url}/scoring/acselect", params={"run_sync": True}, timeout=300)
        assert scored.ok, scored.text
        given_out = [post(server, "/activelearning/acselect", client_id=client) for client in "ab"]
        assert sorted(sample["id"] for sample in given_out) == ["one", "two"]
        assert all("score" in sample for sample in given_out)
        label = tmp_path / "label.nrrd"
        sitk.WriteImage(sitk.GetImageFromArray(np.ones((1, 48, 64), np.uint8)), str(label))
        for name in ("one", "two"):
            answer = requests.put(
                f"{server.url}/datastore/label",
                params={"image": name, "tag": "final"},
                files={"label": ("label.nrrd", label.read_bytes())},
            )
            assert answer.ok, answer.text
        for strategy in ("acselect", "random", "entropy", "foreground_random"):
            assert post(server, f"/activelearning/{strategy}") == {}
