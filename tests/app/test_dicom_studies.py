"""The datastore of a DICOMweb server, against a server in memory; tests/browser has a real one."""

from __future__ import annotations

import copy
import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import requests
from dicomweb_in_memory import DicomWebInMemory, scan
from enhanced import ENHANCED_MR, enhanced
from fastapi import HTTPException
from monailabel.config import settings
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.tag import Tag

from activefreq.errors import InputError
from activefreq.files.grids import Volume
from activefreq.files.volume_writing import write_mask
from activefreq.files.volumes import read_label_volume, read_volume
from lib.answers import http_errors
from lib.dicom_studies import DicomStudies
from lib.images import ImageCache
from lib.trainers.submitted import labelled_samples

LESION = {"label_info": [{"name": "lesion", "idx": 1}]}


@pytest.fixture
def server() -> DicomWebInMemory:
    return DicomWebInMemory()


def open_studies(server: DicomWebInMemory, folder: Path, *, list_seconds: float = 3600.0) -> DicomStudies:
    return DicomStudies(server, folder, filters=[{"Modality": "MR"}, {"Modality": "CT"}], list_seconds=list_seconds)


@pytest.fixture
def studies(server: DicomWebInMemory, tmp_path: Path) -> DicomStudies:
    return open_studies(server, tmp_path / "downloads")


@pytest.fixture
def labelled(server: DicomWebInMemory, tmp_path: Path) -> tuple[str, Path, np.ndarray]:
    """An image on the server, the file of a mask of it, and the mask."""
    volume, mask = scan(1)
    write_mask(tmp_path / "mask.nii.gz", mask, like=volume)
    return server.add(volume, "scan"), tmp_path / "mask.nii.gz", mask


def test_images_are_the_series_of_the_searched_modalities(server, studies, labelled):
    image, mask, _ = labelled
    studies.save_label(image, str(mask), "final", LESION)
    other = server.add(scan(2)[0], "other")
    for dataset in server._of(other):
        dataset.Modality = "PT"
    assert studies.list_images() == [image]


def test_an_image_is_downloaded_once_whoever_asks(server, studies, labelled):
    image, _, _ = labelled
    start = threading.Barrier(4)

    def ask(_: int) -> str:
        start.wait()
        return studies.get_image_uri(image)

    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(ask, range(4)))
    assert server.calls["series"] == 1
    (path,) = paths
    volume = scan(1)[0]
    read = read_volume(path)
    np.testing.assert_array_equal(read.array, volume.array)
    assert read.geometry.matches(volume.geometry)
    assert studies.get_image_info(image)["PatientID"] == "scan"


def test_a_new_series_is_found_before_the_list_is_old(server, studies, labelled):
    assert studies.list_images() == [labelled[0]]
    new = server.add(scan(2)[0], "new")
    assert Path(studies.get_image_uri(new)).is_file()
    assert studies.list_images() == [labelled[0], new]


@pytest.mark.parametrize("states_counts", [True, False])
def test_a_series_of_which_more_arrives_during_its_download_is_refused(server, studies, states_counts):
    server.states_counts = states_counts
    volume, _ = scan(1)
    image = server.add(volume, "scan")
    server.instances, server.arriving = server.instances[:3], server.instances[3:]
    with pytest.raises(HTTPException, match=f"{image} is still arriving.*: 3 of its 6 images came") as refusal:
        studies.get_image_uri(image)
    assert refusal.value.status_code == 503
    assert [path.name for path in Path(studies._datastore_path).iterdir() if image in path.name] == []
    np.testing.assert_array_equal(read_volume(studies.get_image_uri(image)).array, volume.array)


@pytest.mark.parametrize("states_counts", [True, False])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_series_that_grew_is_downloaded_anew(server, studies, tmp_path, states_counts, restarted):
    server.states_counts = states_counts
    volume, _ = scan(1)
    image = server.add(volume, "scan")
    # The first slices come last, so that every slice gets another number.
    rest, server.instances = server.instances[:3], server.instances[3:]
    path = Path(studies.get_image_uri(image))
    images = ImageCache(1 << 30)
    before = images.load(path)
    np.testing.assert_array_equal(before.volume.array, volume.array[3:])
    part = np.zeros(before.volume.array.shape, bool)
    part[1, 2:5, 3:7] = True
    write_mask(tmp_path / "part.nii.gz", part, like=before.volume)
    studies.save_label(image, str(tmp_path / "part.nii.gz"), "final", LESION)

    server.instances += rest
    if restarted:
        studies = open_studies(server, tmp_path / "downloads")
    else:
        studies.forget_lists()
    assert Path(studies.get_image_uri(image)) == path
    after = images.load(path)
    np.testing.assert_array_equal(after.volume.array, volume.array)
    assert after.volume.geometry.matches(volume.geometry)
    assert after.key != before.key
    assert len(list((Path(studies._datastore_path) / image).iterdir())) == 6
    # What was marked stays where it was marked.
    (row,) = studies.datalist()
    np.testing.assert_array_equal(read_label_volume(row["label"]).array[3:] == 1, part)
    assert not read_label_volume(row["label"]).array[:3].any()
    whole = np.zeros(volume.array.shape, bool)
    whole[0, 2:5, 3:7] = True
    write_mask(tmp_path / "whole.nii.gz", whole, like=volume)
    studies.save_label(image, str(tmp_path / "whole.nii.gz"), "final", LESION)


def test_a_series_that_shrank_is_downloaded_anew(server, studies):
    volume, _ = scan(1)
    image = server.add(volume, "scan")
    studies.get_image_uri(image)
    del server.instances[4:]
    studies.forget_lists()
    np.testing.assert_array_equal(read_volume(studies.get_image_uri(image)).array, volume.array[:4])


@pytest.mark.parametrize("states_counts", [True, False])
def test_what_is_here_costs_no_requests_while_the_lists_are_believed(server, studies, labelled, states_counts):
    server.states_counts = states_counts
    image, _, _ = labelled
    studies.get_image_uri(image)
    asked = server.calls.total()
    for _ in range(3):
        studies.get_image_uri(image)
    assert server.calls.total() == asked
    studies.forget_lists()
    for _ in range(3):
        studies.get_image_uri(image)
    assert server.calls.total() == asked + (1 if states_counts else 2)


def test_what_is_here_is_served_while_the_server_is_down(server, studies, labelled):
    image, _, _ = labelled
    path = studies.get_image_uri(image)
    studies.forget_lists()
    server.down = True
    asked = server.calls.total()
    for _ in range(3):
        assert studies.get_image_uri(image) == path
    assert server.calls.total() == asked + 1


def test_a_series_that_is_gone_is_served_to_those_who_work_on_it(server, studies, labelled):
    image, _, _ = labelled
    path = studies.get_image_uri(image)
    server.instances.clear()
    studies.forget_lists()
    assert studies.get_image_uri(image) == path
    assert studies.list_images() == []


def test_frames_that_cannot_be_fetched_are_no_gaps(server, monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "MONAI_LABEL_DICOMWEB_FETCH_BY_FRAME", True)
    studies = open_studies(server, tmp_path / "downloads")
    volume, _ = scan(1)
    image = server.add(volume, "scan")
    server.lost_frames = {server.instances[0].SOPInstanceUID, server.instances[5].SOPInstanceUID}
    with pytest.raises(HTTPException, match="4 of its 6 images came") as refusal:
        studies.get_image_uri(image)
    assert refusal.value.status_code == 503
    server.lost_frames.clear()
    np.testing.assert_array_equal(read_volume(studies.get_image_uri(image)).array, volume.array)


def test_a_series_with_a_gap_is_refused(server, studies):
    image = server.add(scan(1)[0], "scan")
    del server.instances[2]
    with pytest.raises(HTTPException) as refusal, http_errors():
        studies.get_image_uri(image)
    assert refusal.value.status_code == 422
    assert f"the series {image}: a slice is" in refusal.value.detail
    assert "is one missing?" in refusal.value.detail
    assert studies._datastore_path not in refusal.value.detail
    assert [path.name for path in Path(studies._datastore_path).iterdir() if image in path.name] == []


def test_a_series_that_cannot_be_read_is_refused(server, studies):
    image = server.add(scan(1)[0], "scan")
    for dataset in server.instances:
        del dataset.Rows, dataset.PixelData
    with pytest.raises(HTTPException, match=image) as refusal, http_errors():
        studies.get_image_uri(image)
    assert refusal.value.status_code == 422


@pytest.mark.parametrize("kind", ["backwards", "one slice", "colour"])
def test_series_keep_their_slices_and_geometry(server, studies, kind):
    volume, _ = scan(1)
    if kind == "backwards":
        # The slices run against their normal, so their files come last first.
        direction = np.reshape(volume.geometry.direction, (3, 3)) * (1, 1, -1)
        volume = Volume(volume.array, replace(volume.geometry, direction=tuple(direction.ravel().tolist())))
    elif kind == "colour":
        colours = np.random.default_rng(0).integers(0, 256, (*volume.array.shape, 3), np.uint8)
        volume = Volume(colours, volume.geometry)
    image = server.add(volume, "scan")
    if kind == "one slice":
        del server.instances[1:]
        volume = Volume(volume.array[:1], replace(volume.geometry, shape=(1, *volume.geometry.shape[1:])))
    read = read_volume(studies.get_image_uri(image))
    if kind == "backwards":
        # By position along the normal, whatever the order of the files.
        np.testing.assert_array_equal(read.array, volume.array[::-1])
        np.testing.assert_allclose(
            read.geometry.origin, volume.geometry.points(np.array([[0, 0, len(volume.array) - 1]]))[0], rtol=1e-5
        )
    else:
        np.testing.assert_array_equal(read.array, volume.array)
        np.testing.assert_allclose(read.geometry.origin, volume.geometry.origin, rtol=1e-5)
    assert read.geometry.shape == volume.array.shape[:3]


def test_lists_that_are_never_believed(server, tmp_path, labelled):
    image, mask, _ = labelled
    studies = open_studies(server, tmp_path / "downloads", list_seconds=0.0)
    assert studies.list_images() == [image]
    assert Path(studies.get_image_uri(image)).is_file()
    assert studies.get_unlabeled_images() == [image]
    studies.save_label(image, str(mask), "final", LESION)
    assert studies.get_labeled_images() == [image]
    assert server.calls["series"] == 1
    new = server.add(scan(2)[0], "new")
    assert studies.list_images() == [image, new]


@pytest.mark.parametrize("image", ["1.2.3", "../../etc/passwd", "/etc/passwd", ""])
def test_other_images_do_not_exist(studies, labelled, image):
    with pytest.raises(HTTPException) as refusal:
        studies.get_image_uri(image)
    assert refusal.value.status_code == 404


def test_a_final_label_becomes_a_segmentation_that_counts_at_once(server, studies, labelled):
    image, mask, voxels = labelled
    assert studies.get_unlabeled_images() == [image]
    assert studies.save_label(image, str(mask), "final", {**LESION, "user": "someone"}) == image
    assert studies.get_unlabeled_images() == []
    assert studies.get_labeled_images() == [image]
    assert studies.status()["completed"] == 1

    (segmentation,) = server.segmentations()
    (segment,) = segmentation.SegmentSequence
    assert segment.SegmentLabel == "lesion"
    assert segment.SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Lesion"
    assert segmentation.StudyInstanceUID == server._of(image)[0].StudyInstanceUID
    info = studies.get_label_info(image, "final")
    assert (info["user"], info["SeriesInstanceUID"]) == ("someone", segmentation.SeriesInstanceUID)

    (row,) = studies.datalist()
    assert row["image"] == studies.get_image_uri(image)
    np.testing.assert_array_equal(read_label_volume(row["label"]).array == 1, voxels)


def test_a_label_comes_back_on_the_grid_of_its_image(server, studies, labelled, tmp_path):
    image, mask, voxels = labelled
    studies.save_label(image, str(mask), "final", LESION)
    elsewhere = open_studies(server, tmp_path / "elsewhere")
    (row,) = elsewhere.datalist()
    label = read_label_volume(row["label"])
    np.testing.assert_array_equal(label.array == 1, voxels)
    assert label.geometry.matches(read_volume(row["image"]).geometry)
    assert elsewhere.datalist(full_path=False) == [
        {key: str(Path(path).relative_to(tmp_path / "elsewhere")) for key, path in row.items()}
    ]


def test_the_newest_segmentation_is_the_label(server, studies, labelled, tmp_path):
    image, mask, voxels = labelled
    studies.save_label(image, str(mask), "final", LESION)
    corrected = voxels & (np.arange(voxels.shape[1]) % 2 == 0)[:, None]
    write_mask(tmp_path / "corrected.nii.gz", corrected, like=scan(1)[0])
    open_studies(server, tmp_path / "colleague").save_label(image, str(tmp_path / "corrected.nii.gz"), "final", LESION)
    first, second = server.segmentations()
    first.ContentDate, first.ContentTime = "20240101", "120000"
    second.ContentDate, second.ContentTime = "20240101", "120001"
    for order in ([first, second], [second, first]):
        server.instances[-2:] = order
        for store in (open_studies(server, tmp_path / "downloads"), open_studies(server, tmp_path / "fresh")):
            (row,) = store.datalist()
            np.testing.assert_array_equal(read_label_volume(row["label"]).array == 1, corrected)


def test_a_segmentation_that_is_gone_is_no_label_any_more(server, studies, labelled):
    image, mask, _ = labelled
    studies.save_label(image, str(mask), "final", LESION)
    server.instances.remove(*server.segmentations())
    studies.forget_lists()
    assert studies.get_unlabeled_images() == [image]
    assert studies.datalist() == []


def test_segmentations_are_described_once(server, studies, labelled):
    image, mask, _ = labelled
    studies.save_label(image, str(mask), "final", LESION)
    for _ in range(3):
        studies.forget_lists()
        assert studies.get_labeled_images() == [image]
    assert server.calls["metadata"] == 1


def test_other_tags_stay_here(server, studies, labelled):
    image, mask, voxels = labelled
    studies.save_label(image, str(mask), "draft", {})
    assert server.segmentations() == []
    np.testing.assert_array_equal(read_label_volume(studies.get_label_uri(image, "draft")).array == 1, voxels)


def test_a_label_that_cannot_be_a_segmentation_is_refused(server, studies, labelled, tmp_path):
    image, _, voxels = labelled
    write_mask(tmp_path / "empty.nrrd", np.zeros_like(voxels), like=scan(1)[0])
    write_mask(tmp_path / "small.nrrd", voxels[:2], like=replace(scan(1)[0].geometry, shape=(2, *voxels.shape[1:])))
    (tmp_path / "text.nrrd").write_text("no label")
    for name, message in {"empty": "empty", "small": "grid", "text": "text.nrrd"}.items():
        with pytest.raises(HTTPException, match=message) as refusal:
            studies.save_label(image, str(tmp_path / f"{name}.nrrd"), "final", LESION)
        assert refusal.value.status_code == 422
    assert server.calls["store"] == 0
    assert studies.get_unlabeled_images() == [image]


def test_a_refused_segmentation_is_no_label(server, studies, labelled):
    image, mask, _ = labelled
    server.refuses = True
    with pytest.raises(HTTPException, match="refused") as refusal:
        studies.save_label(image, str(mask), "final", LESION)
    assert refusal.value.status_code == 502
    assert studies.get_label_info(image, "final") == {}
    assert studies.get_unlabeled_images() == [image]


def test_a_server_that_is_down_is_told_and_leaves_nothing_behind(server, studies, labelled):
    image, _, _ = labelled
    assert studies.list_images() == [image]
    server.down = True
    with pytest.raises(HTTPException, match="nobody is there") as refusal:
        studies.get_image_uri(image)
    assert refusal.value.status_code == 502
    server.down = False
    assert Path(studies.get_image_uri(image)).is_file()
    leftovers = [path for path in Path(studies._datastore_path).iterdir() if path.name.startswith(".downloading")]
    assert leftovers == []


def test_images_are_not_added_here(studies):
    with pytest.raises(HTTPException) as refusal:
        studies.add_image("new", "new.nii.gz", {})
    assert refusal.value.status_code == 405


def test_what_is_on_the_server_is_not_removed_here(studies, labelled):
    image, mask, _ = labelled
    for tag in ("final", "draft"):
        studies.save_label(image, str(mask), tag, LESION)
    for remove in (lambda: studies.remove_image(image), lambda: studies.remove_label(image, "final")):
        with pytest.raises(HTTPException, match="on the DICOMweb server") as refusal:
            remove()
        assert refusal.value.status_code == 405
    studies.remove_label(image, "draft")
    assert Path(studies.get_label_uri(image, "final")).is_file()
    assert studies.get_label_info(image, "draft") == {}


def test_segmentations_of_other_programs_that_cannot_be_read_hinder_nothing(server, studies, labelled, caplog):
    image, mask, _ = labelled
    studies.save_label(image, str(mask), "final", LESION)
    (good,) = [dataset for dataset in server.instances if dataset.Modality == "SEG"]
    # One with probabilities in it, of another image, and one of which the server tells nothing.
    other = server.add(scan(2)[0], "other")
    strange = copy.deepcopy(good)
    strange.SegmentationType, strange.SeriesInstanceUID = "FRACTIONAL", "1.2.3.4"
    strange.ReferencedSeriesSequence[0].SeriesInstanceUID = other
    silent = copy.deepcopy(good)
    silent.SeriesInstanceUID = "1.2.3.5"
    server.instances += [strange, silent]
    told = server.retrieve_series_metadata
    server.retrieve_series_metadata = lambda study, series: [] if series == "1.2.3.5" else told(study, series)
    studies.forget_lists()
    assert set(studies.get_labeled_images()) == {image, other}
    assert studies.status()["total"] == 2
    assert [Path(row["image"]) for row in studies.datalist()] == [Path(studies.get_image_uri(image))]
    assert f"{other} is left out" in caplog.text


def test_labels_that_the_server_does_not_give_are_told_to_those_who_train(server, studies, labelled, tmp_path):
    image, mask, voxels = labelled
    studies.save_label(image, str(mask), "final", LESION)
    volume, other_mask = scan(2)
    other = server.add(volume, "other")
    write_mask(tmp_path / "other.nii.gz", other_mask, like=volume)
    studies.forget_lists()
    studies.save_label(other, str(tmp_path / "other.nii.gz"), "final", LESION)
    elsewhere = open_studies(server, tmp_path / "elsewhere")
    given = server.retrieve_series
    down = {other}

    def give(study: str, series: str) -> list[Dataset]:
        if series in down:
            raise requests.ConnectionError("the archive is asleep")
        return given(study, series)

    server.retrieve_series = give
    kept = tmp_path / "kept"
    kept.mkdir()
    samples = labelled_samples(elsewhere, kept)
    assert set(samples.groups) == {image}
    np.testing.assert_array_equal(samples[0].target, voxels[samples.references[0].k])
    (problem,) = samples.problems
    assert problem.name == other
    assert problem.reason.startswith("the DICOMweb server does not answer as it should: the archive is asleep")

    down.add(image)
    with pytest.raises(
        InputError, match=f"no submitted label can be used; the first of 2 problems is ({image}|{other}): the D"
    ):
        labelled_samples(open_studies(server, tmp_path / "nothing"), kept)


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 192"])
@pytest.mark.parametrize("name", ["L\u00e4sion links", "\u75c5\u53d8", "plain"])
def test_a_structure_may_be_called_in_any_language(server, studies, labelled, tmp_path, charset, name):
    image, _, voxels = labelled
    for dataset in server._of(image):
        dataset.SpecificCharacterSet, dataset.PatientName = charset, "M\u00fcller^J\u00fcrgen"
    values = np.where(voxels, 2, 0).astype(np.uint8)
    values[0, 0, :3] = 1
    write_mask(tmp_path / "two.nii.gz", values, like=read_volume(studies.get_image_uri(image)))
    names = [{"name": "other", "idx": 1}, {"name": name, "idx": 2}]
    studies.save_label(image, str(tmp_path / "two.nii.gz"), "final", {"label_info": names})

    (segmentation,) = server.segmentations()
    assert [segment.SegmentLabel for segment in segmentation.SegmentSequence] == ["other", name]
    assert [segment.SegmentDescription for segment in segmentation.SegmentSequence] == ["other", name]
    assert str(segmentation.PatientName) == "M\u00fcller^J\u00fcrgen"
    (row,) = open_studies(server, tmp_path / "elsewhere").datalist()
    np.testing.assert_array_equal(read_label_volume(row["label"]).array, values)


@pytest.mark.filterwarnings("ignore:Invalid value for VR", "ignore:Value .* is not valid", "ignore:The value length")
@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientSex", "Male"),
        ("PatientAge", "45"),
        ("PatientBirthDate", "1970-01-01"),
        ("StudyDate", "unknown"),
        ("StudyTime", "12:30:00"),
        ("StudyDescription", ["head", "neck"]),
        ("ReferringPhysicianName", ["a", "b"]),
        ("BodyPartExamined", "head and neck, all of it"),
        ("PatientWeight", "heavy"),
        ("FrameOfReferenceUID", ""),
    ],
)
def test_a_label_of_an_image_whose_header_breaks_the_rules_is_kept(server, studies, labelled, keyword, value):
    image, mask, voxels = labelled
    for dataset in server._of(image):
        dataset.PatientName, dataset.SpecificCharacterSet = "M\u00fcller^J\u00fcrgen", "ISO_IR 100"
        if value == "heavy":  # pydicom has numbers there, but reads whatever is there
            dataset._dict[Tag(keyword)] = RawDataElement(Tag(keyword), "DS", 6, b"heavy ", 0, False, True)
        else:
            setattr(dataset, keyword, value)
    studies.save_label(image, str(mask), "final", LESION)

    (segmentation,) = server.segmentations()
    if keyword == "FrameOfReferenceUID":
        assert segmentation.FrameOfReferenceUID.is_valid
    elif keyword == "PatientWeight":
        assert keyword not in segmentation
    else:
        assert segmentation[keyword].value == value
    assert (str(segmentation.PatientName), segmentation.PatientID) == ("M\u00fcller^J\u00fcrgen", dataset.PatientID)
    assert segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID == image
    (row,) = studies.datalist()
    np.testing.assert_array_equal(read_label_volume(row["label"]).array == 1, voxels)


def test_a_label_of_an_image_whose_slices_are_frames_of_one_file_is_kept(server, studies, tmp_path):
    volume, mask = scan(1)
    image = server.add(volume, "scan")
    slices = server._of(image)
    whole = enhanced([slices[index] for index in (3, 0, 5, 1, 4, 2)])
    whole.PatientName = "M\u00fcller^J\u00fcrgen"
    server.instances = [whole]
    write_mask(tmp_path / "mask.nii.gz", mask, like=read_volume(studies.get_image_uri(image)))
    studies.save_label(image, str(tmp_path / "mask.nii.gz"), "final", LESION)

    (segmentation,) = server.segmentations()
    assert str(segmentation.PatientName) == "M\u00fcller^J\u00fcrgen"
    (reference,) = segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert (reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID) == (ENHANCED_MR, whole.SOPInstanceUID)
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        assert source.ReferencedSOPInstanceUID == whole.SOPInstanceUID
        own = whole.PerFrameFunctionalGroupsSequence[source.ReferencedFrameNumber - 1].PlanePositionSequence[0]
        np.testing.assert_allclose(
            frame.PlanePositionSequence[0].ImagePositionPatient, own.ImagePositionPatient, atol=1e-4
        )
    (row,) = open_studies(server, tmp_path / "elsewhere").datalist()
    np.testing.assert_array_equal(read_label_volume(row["label"]).array == 1, mask)


def test_no_label_is_made_of_an_image_that_does_not_say_where_its_slices_lie(server, studies, labelled):
    image, mask, _ = labelled
    for dataset in server._of(image):
        del dataset.ImagePositionPatient, dataset.ImageOrientationPatient
    write_mask(
        mask,
        np.ones(read_volume(studies.get_image_uri(image)).array.shape, bool),
        like=read_volume(studies.get_image_uri(image)),
    )
    with pytest.raises(HTTPException, match="does not say where its slices lie") as caught:
        studies.save_label(image, str(mask), "final", LESION)
    assert caught.value.status_code == 422
    assert server.segmentations() == []


@pytest.mark.parametrize("entries", [[1], 5, [{"idx": "x"}], "lesion", [{"idx": None}]])
def test_names_of_structures_that_cannot_be_read_are_refused(server, studies, labelled, entries):
    image, mask, _ = labelled
    with pytest.raises(HTTPException) as caught:
        studies.save_label(image, str(mask), "final", {"label_info": entries})
    assert (caught.value.status_code, "label_info must be a list" in caught.value.detail) == (422, True)
    assert not [dataset for dataset in server.instances if dataset.Modality == "SEG"]


@pytest.mark.parametrize("error", [InvalidDicomError("no DICM"), ValueError("an HTML page"), KeyError("00080018")])
def test_what_is_no_dicom_is_the_servers_fault_and_named(server, studies, labelled, monkeypatch, caplog, error):
    image, mask, _ = labelled

    def odd(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(server, "retrieve_series", odd)
        with pytest.raises(HTTPException, match=f"the series {image} cannot be read: .*{error.args[0]}") as caught:
            studies.get_image_uri(image)
    assert caught.value.status_code == 502
    studies.save_label(image, str(mask), "final", LESION)
    (segmentation,) = server.segmentations()
    with monkeypatch.context() as patched:
        patched.setattr(server, "retrieve_series_metadata", odd)
        assert studies.get_labeled_images() == []
    assert f"The segmentation {segmentation.SeriesInstanceUID} is passed over" in caplog.text
    studies.forget_lists()
    assert studies.get_labeled_images() == [image]


def test_a_disk_that_is_full_is_not_the_servers_fault(server, studies, labelled, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(server, "retrieve_series", full)
    with pytest.raises(HTTPException) as caught, http_errors():
        studies.get_image_uri(labelled[0])
    assert caught.value.status_code == 507


def test_a_segmentation_of_which_nonsense_is_told_hinders_no_other(server, studies, labelled, caplog, monkeypatch):
    image, mask, _ = labelled
    studies.save_label(image, str(mask), "final", LESION)
    odd = copy.deepcopy(server.segmentations()[0])
    odd.SeriesInstanceUID = odd.SeriesInstanceUID + ".9"
    server.instances.append(odd)
    told = server.retrieve_series_metadata
    monkeypatch.setattr(
        server,
        "retrieve_series_metadata",
        lambda study, uid: [{"00080023": "no attribute"}] if uid == odd.SeriesInstanceUID else told(study, uid),
    )
    for _ in range(2):
        studies.forget_lists()
        assert studies.get_labeled_images() == [image]
    assert caplog.text.count(f"The segmentation {odd.SeriesInstanceUID} is passed over") == 2
