"""A person with 3D Slicer: from the first image to a better model, on volumes and pictures of every orientation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
import SimpleITK as sitk
import torch
from monailabel.client.client import MONAILabelClientException
from PIL import Image
from server import Server, running_server
from slicer import Point, SlicerPlugin
from synthetic import rgb_blob, write_picture
from tiny import make_tiny_model

from activefreq import Click, InteractiveSegmenter
from activefreq.data.sample_studies import dermoscopy_like, mr_like
from activefreq.models.checkpoint import Checkpoint, checkpoint_hash, save_checkpoint
from lib.served_checkpoint import finetuned_path

pytestmark = pytest.mark.server

TURNED = sitk.Euler3DTransform((0, 0, 0), 0.3, -0.5, 0.2).GetMatrix()
DIRECTIONS = {
    "axial": (1, 0, 0, 0, 1, 0, 0, 0, 1),
    # Columns are the directions of i, j and k: of a sagittal slice i runs to the back and j to the feet.
    "sagittal": (0, 0, 1, 1, 0, 0, 0, -1, 0),
    "coronal": (1, 0, 0, 0, 0, 1, 0, -1, 0),
    "oblique": TURNED,
    "flipped": tuple((np.reshape(TURNED, (3, 3)) @ np.diag([-1, 1, 1])).ravel()),
}
VOLUMES = [(name, extension) for name in DIRECTIONS for extension in (".nii.gz", ".nrrd")]
PICTURES = ["picture_dpi.jpg", "picture_png.png", "picture_tif.tif"]
LESIONS = range(1, 4)

# Far from every symmetry of 28 x 22 x 9 voxels: exchanged or mirrored axes do not go unseen.
CLICKS: list[tuple[Point, bool]] = [
    ((5, 14, 7), True),
    ((21, 3, 2), True),
    ((6, 17, 7), False),
    ((24, 19, 0), True),
    ((2, 4, 0), False),
    ((19, 6, 2), False),
]


def volume_name(orientation: str, extension: str) -> str:
    return f"{orientation}_{extension[1:].split('.')[0]}{extension}"


def make_volume(orientation: str) -> sitk.Image:
    """28 x 22 x 9 voxels of a head-like phantom, with the grid of a scan in that orientation."""
    array = sitk.GetArrayFromImage(mr_like((32, 32, 9), seed=4).image)[:, :22, :28]
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing((0.9, 1.3, 4.0))
    image.SetOrigin((-31.5, 12.25, 70.0))
    image.SetDirection([float(value) for value in DIRECTIONS[orientation]])
    return image


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "tiny.pt"
    save_checkpoint(path, Checkpoint(make_tiny_model(seed=0)))
    return path


@pytest.fixture(scope="module")
def server(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("slicer_server")
    studies = folder / "studies"
    studies.mkdir()
    for orientation, extension in VOLUMES:
        sitk.WriteImage(make_volume(orientation), str(studies / volume_name(orientation, extension)))
    picture = Image.fromarray(dermoscopy_like((64, 90), seed=5).image)
    for name in PICTURES:
        picture.save(studies / name, dpi=(72, 72))
    for number in LESIONS:
        write_picture(studies / f"lesion_{number}.png", rgb_blob(number)[0])
    conf = {"checkpoint": str(base), "device": "cpu", "finetuned": str(folder / "finetuned")}
    environment = {
        "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
        # As many threads as here, so that sums of floats are the same.
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    with running_server(studies, folder, conf=conf, environment=environment) as running:
        yield running


@pytest.fixture(scope="module")
def here(base: Path) -> InteractiveSegmenter:
    """The session in this process to which the server's answers are compared."""
    return InteractiveSegmenter.from_pretrained(base, device="cpu")


@pytest.fixture
def slicer(server: Server, tmp_path: Path) -> SlicerPlugin:
    return SlicerPlugin(server.url, tmp_path)


def expected_mask(here: InteractiveSegmenter, slices: np.ndarray, clicks: list[list[int]]) -> np.ndarray:
    """(K, J, I) bool after (i, j, k, sign) clicks, on slices that were read by another library."""
    mask = np.zeros(slices.shape[:3], bool)
    for k in {click[2] for click in clicks}:
        mask[k] = here.predict(slices[k], [Click(j, i, positive=bool(s)) for i, j, at, s in clicks if at == k]).mask
    return mask


@pytest.mark.parametrize(("orientation", "extension"), VOLUMES)
def test_masks_lie_on_the_clicked_voxels_of_a_volume(
    slicer: SlicerPlugin, here: InteractiveSegmenter, orientation: str, extension: str
) -> None:
    name = volume_name(orientation, extension)
    slicer.open_sample(name.removesuffix(extension), name)
    image = sitk.ReadImage(str(slicer.path))
    np.testing.assert_allclose(image.GetDirection(), DIRECTIONS[orientation], atol=1e-6)
    slices = sitk.GetArrayFromImage(image)

    applied: dict[int, list[list[int]]] = {}
    for count, (point, positive) in enumerate(CLICKS, start=1):
        facts = slicer.click(point, positive=positive)
        for k in {click[2] for click in facts["clicks"]}:
            applied[k] = [click for click in facts["clicks"] if click[2] == k]
        assert slicer.mask[point[::-1]] == positive
        ordered = [click for clicks in applied.values() for click in clicks]
        assert len(ordered) == count
        np.testing.assert_array_equal(slicer.mask, expected_mask(here, slices, ordered))
    # With a click on slice 0 the plugin sends those of all slices, and says that they are of slice 0.
    sent = slicer.requests[3]
    assert (len(sent["foreground"]), len(sent["background"]), sent["slice"]) == (3, 1, 0)
    assert [slicer.mask[point[::-1]] for point, _ in CLICKS] == [positive for _, positive in CLICKS]


@pytest.mark.parametrize("name", PICTURES)
def test_masks_lie_on_the_clicked_pixels_of_a_picture(
    slicer: SlicerPlugin, here: InteractiveSegmenter, name: str
) -> None:
    slicer.open_sample(Path(name).stem, name)
    slices = np.asarray(Image.open(slicer.path))[None]
    for point, positive in [((70, 12, 0), True), ((14, 50, 0), False), ((40, 31, 0), True)]:
        facts = slicer.click(point, positive=positive)
        assert slicer.mask[point[::-1]] == positive
        np.testing.assert_array_equal(slicer.mask, expected_mask(here, slices, facts["clicks"]))


def test_clicks_on_the_background_alone_leave_nothing_there(slicer: SlicerPlugin, here: InteractiveSegmenter) -> None:
    slicer.open_sample("oblique_nrrd", "oblique_nrrd.nrrd")
    slices = sitk.GetArrayFromImage(sitk.ReadImage(str(slicer.path)))
    for point in [(5, 14, 7), (20, 4, 7)]:
        facts = slicer.click(point, positive=False)
        assert not slicer.mask[point[::-1]]
    assert "slice" not in slicer.requests[-1]
    np.testing.assert_array_equal(slicer.mask, expected_mask(here, slices, facts["clicks"]))


@pytest.mark.parametrize(("orientation", "extension"), [("sagittal", ".nii.gz"), ("flipped", ".nrrd")])
def test_an_own_volume_is_uploaded_segmented_and_kept(
    slicer: SlicerPlugin, server: Server, here: InteractiveSegmenter, orientation: str, extension: str
) -> None:
    own = slicer.folder / f"own_{orientation}{extension}"
    sitk.WriteImage(make_volume(orientation), str(own))
    slicer.open_own(own)
    clicks = [(5, 14, 7), (21, 3, 0)]
    facts = [slicer.click(point) for point in clicks][-1]
    expected = expected_mask(here, sitk.GetArrayFromImage(make_volume(orientation)), facts["clicks"])
    np.testing.assert_array_equal(slicer.mask, expected)

    name = f"2: T1 [{orientation}] O'Brien"
    slicer.upload(name)
    slicer.submit()
    label = sitk.ReadImage(str(server.studies / "labels" / "final" / f"{name}.nii.gz"))
    image = sitk.ReadImage(str(server.studies / f"{name}.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(label), expected)
    for point in clicks:
        assert label[point] == 1
        np.testing.assert_allclose(
            label.TransformIndexToPhysicalPoint(point), image.TransformIndexToPhysicalPoint(point), atol=1e-3
        )
    # What a network of random weights drew is nothing that the training below should learn.
    requests.delete(f"{server.url}/datastore/image", params={"id": name}, timeout=60).raise_for_status()
    assert not (server.studies / f"{name}.nii.gz").exists()


def test_automatic_segmentation_of_a_new_sample_is_answered_with_a_file(slicer: SlicerPlugin) -> None:
    sample = slicer.next_sample("acselect")
    assert slicer.path.read_bytes() == Path(sample["path"]).read_bytes()
    labels, facts = slicer.run_automatic_segmentation("activefreq_regions")
    assert labels.shape == slicer.mask.shape
    assert set(facts["label_names"].values()) == set(np.unique(labels)) - {0}


def test_what_runs_on_the_next_sample_is_the_structure_itself_and_clicks_correct_it(slicer: SlicerPlugin) -> None:
    slicer.open_sample("oblique_nii", "oblique_nii.nii.gz")
    labels, facts = slicer.run_automatic_segmentation()
    assert slicer.others == {}
    assert {one["k"]: one["pixels"] for one in facts["slices"]} == {
        k: int(slice_.sum()) for k, slice_ in enumerate(slicer.mask) if slice_.any()
    }
    np.testing.assert_array_equal(slicer.mask, labels > 0)
    found = slicer.mask.copy()
    slicer.click((5, 14, 7))
    np.testing.assert_array_equal(np.delete(slicer.mask, 7, axis=0), np.delete(found, 7, axis=0))
    assert slicer.mask[7, 14, 5]


def test_suggested_regions_are_no_part_of_a_label(slicer: SlicerPlugin, server: Server) -> None:
    slicer.open_sample("axial_nrrd", "axial_nrrd.nrrd")
    slicer.click((5, 14, 7))
    slicer.run_automatic_segmentation("activefreq_regions")
    # What a network of random weights suggests depends on its seed.
    slicer.others.setdefault("suggested_add", np.roll(slicer.mask, 1, axis=0))
    with pytest.raises(MONAILabelClientException) as caught:
        slicer.submit()
    names = " and ".join(sorted(slicer.others))
    assert "Status: 422" in caught.value.msg
    assert f"{names} first, then submit again" in caught.value.msg
    kept = server.studies / "labels" / "final" / "axial_nrrd.nii.gz"
    assert not kept.exists()

    slicer.others.clear()
    slicer.submit()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(kept))), slicer.mask)
    requests.delete(
        f"{server.url}/datastore/label", params={"id": "axial_nrrd", "tag": "final"}, timeout=60
    ).raise_for_status()


@pytest.mark.parametrize(("tag", "status"), [("final", 422), ("original", 200)])
def test_suggestions_are_not_saved_as_a_final_label_by_inference_either(server: Server, tag: str, status: int) -> None:
    params = {"foreground": [[5, 14, 7]], "save_label": True, "label_tag": tag}
    answer = requests.post(
        f"{server.url}/infer/activefreq_regions",
        params={"image": "axial_nrrd", "output": "json"},
        files={"params": (None, json.dumps(params))},
        timeout=60,
    )
    assert answer.status_code == status, answer.text
    kept = [*(server.studies / "labels" / tag).glob("axial_nrrd.*")]
    assert len(kept) == (tag == "original")


@pytest.mark.slow
def test_submitted_labels_train_the_model_that_answers_next(slicer: SlicerPlugin, server: Server, base: Path) -> None:
    for number in LESIONS:
        slicer.open_sample(f"lesion_{number}", f"lesion_{number}.png")
        truth = rgb_blob(number)[1]
        rows, columns = np.nonzero(truth)
        before = slicer.click((int(columns.mean()), int(rows.mean()), 0))["model_version"]
        slicer.mask[0] = truth  # the person paints the rest
        sent = slicer.submit()
        kept = server.studies / "labels" / "final" / f"lesion_{number}.nii.gz"
        assert kept.read_bytes() == sent.read_bytes()
    assert before == checkpoint_hash(base)[:12]
    offered = {slicer.next_sample("first")["id"] for _ in range(3)}
    assert not offered & {f"lesion_{number}" for number in LESIONS}

    status = slicer.train({"max_epochs": 25, "val_split": 0.3, "device": "cpu"})
    assert status["status"] == "DONE", status
    slicer.open_sample("lesion_1", "lesion_1.png")
    after = slicer.click((30, 20, 0))["model_version"]
    published = finetuned_path(str(base), server.output.parent / "finetuned")
    assert after == checkpoint_hash(published)[:12] != before
