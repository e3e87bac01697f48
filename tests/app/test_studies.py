from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException
from PIL import Image

from lib.studies import StudiesFolder


def make_images(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("L", (4, 4)).save(folder / name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_images(tmp_path / "studies", ["one.png", "two.jpg", "three.JPG", "four.jpeg"])
    return tmp_path / "studies"


@pytest.fixture
def label(tmp_path: Path) -> Path:
    path = tmp_path / "label.nrrd"
    path.write_bytes(b"a label")
    return path


def open_studies(folder: Path) -> StudiesFolder:
    return StudiesFolder(str(folder), auto_reload=False)


def test_finds_images_in_small_and_capital_letters(folder: Path) -> None:
    assert sorted(open_studies(folder).list_images()) == ["four", "one", "three", "two"]
    assert open_studies(folder).get_image_uri("three") == str(folder / "three.JPG")


def test_a_saved_label_is_there_after_a_restart(folder: Path, label: Path) -> None:
    open_studies(folder).save_label("one", str(label), "final", {"by": "me"})
    studies = open_studies(folder)
    assert Path(studies.get_label_uri("one", "final")).read_bytes() == b"a label"
    assert studies.get_label_info("one", "final")["by"] == "me"
    assert studies.get_labeled_images() == ["one"]


def test_labels_are_found_even_when_the_index_is_lost(folder: Path, label: Path) -> None:
    open_studies(folder).save_label("one", str(label), "final", {})
    (folder / "datastore_v2.json").unlink()
    assert open_studies(folder).get_labeled_images() == ["one"]


def test_a_label_in_another_format_replaces_the_one_before(folder: Path, label: Path) -> None:
    studies = open_studies(folder)
    studies.save_label("one", str(label), "final", {})
    other = label.with_name("other.nii.gz")
    other.write_bytes(b"another")
    studies.save_label("one", str(other), "final", {})
    assert [path.name for path in (folder / "labels" / "final").iterdir()] == ["one.nii.gz"]
    assert Path(studies.get_label_uri("one", "final")).read_bytes() == b"another"


@pytest.mark.parametrize("image", ["unknown", "", "../one", "/etc/passwd"])
def test_an_unknown_image_is_refused(folder: Path, label: Path, image: str) -> None:
    studies = open_studies(folder)
    for action in (
        lambda: studies.get_image_uri(image),
        lambda: studies.save_label(image, str(label), "final", {}),
        lambda: studies.update_image_info(image, {"a": 1}),
    ):
        with pytest.raises(HTTPException) as caught:
            action()
        assert caught.value.status_code == 404
        assert repr(image) in caught.value.detail


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".hidden", "a\\b", "x" * 300, "a\0b", "a\nb"])
def test_names_that_lead_elsewhere_are_refused(folder: Path, label: Path, name: str) -> None:
    studies = open_studies(folder)
    before = sorted(folder.parent.rglob("*"))
    for action in (
        lambda: studies.save_label("one", str(label), name, {}),
        lambda: studies.add_image(name, str(folder / "one.png"), {}),
    ):
        with pytest.raises(HTTPException) as caught:
            action()
        assert caught.value.status_code == 422
    assert sorted(folder.parent.rglob("*")) == before


def test_an_image_can_be_added(folder: Path, tmp_path: Path) -> None:
    make_images(tmp_path, ["new.png"])
    assert open_studies(folder).add_image("été 1", str(tmp_path / "new.png"), {"from": "me"}) == "été 1"
    studies = open_studies(folder)
    assert studies.get_image_uri("été 1") == str(folder / "été 1.png")
    assert studies.get_image_info("été 1")["from"] == "me"


def test_an_image_of_an_unknown_type_is_refused(folder: Path, label: Path) -> None:
    program = label.with_name("program.exe")
    program.write_bytes(b"MZ")
    with pytest.raises(HTTPException) as caught:
        open_studies(folder).add_image("program", str(program), {})
    assert (caught.value.status_code, ".exe" in caught.value.detail) == (422, True)
    assert not (folder / "program.exe").exists()


def test_two_writers_lose_none_of_each_others_changes(folder: Path) -> None:
    """MONAI Label's own datastore writes its whole memory over what another process wrote."""

    def write(image: str, prefix: str) -> None:
        studies = open_studies(folder)
        for number in range(20):
            studies.update_image_info(image, {f"{prefix}{number}": number})

    # Each has a datastore, a memory and a lock of its own, as processes have.
    with ThreadPoolExecutor() as writers:
        for future in [writers.submit(write, *of) for of in (("one", "a"), ("two", "b"), ("one", "c"))]:
            future.result()
    objects = json.loads((folder / "datastore_v2.json").read_text())["objects"]
    for image, prefixes in (("one", "ac"), ("two", "b")):
        expected = {f"{prefix}{number}" for prefix in prefixes for number in range(20)}
        assert expected <= set(objects[image]["image"]["info"])


def test_sees_what_another_process_changed(folder: Path, label: Path) -> None:
    watching = StudiesFolder(str(folder))
    try:
        open_studies(folder).save_label("one", str(label), "final", {})
        make_images(folder, ["new.png"])
        _until(lambda: watching.get_labeled_images() == ["one"] and "new" in watching.list_images())
    finally:
        watching._observer.stop()


def test_many_new_files_are_few_looks_through_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    found = StudiesFolder._found

    def counted(*arguments: Any) -> Any:
        looks.append(1)
        return found(*arguments)

    monkeypatch.setattr(StudiesFolder, "_found", counted)
    watching = StudiesFolder(str(folder))
    try:
        began = time.monotonic()
        make_images(folder, [f"new{number}.png" for number in range(200)])
        _until(lambda: len(watching.list_images()) == 204)
        # At the start, while files came, and after the last.
        assert len(looks) <= 3 + (time.monotonic() - began) / 0.5
    finally:
        watching._observer.stop()


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the change was not seen"
        time.sleep(0.05)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB, where this user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk to fill")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_costs_nothing_that_was_saved(small_disk: Path, label: Path) -> None:
    make_images(small_disk, ["one.png"])
    studies = open_studies(small_disk)
    studies.save_label("one", str(label), "final", {"kept": True})
    index = (small_disk / "datastore_v2.json").read_bytes()

    large = label.with_name("large.nrrd")
    large.write_bytes(bytes(400_000))
    for action in (
        lambda: studies.save_label("one", str(large), "final", {}),
        lambda: studies.add_image("large", str(large), {}),
        lambda: studies.update_image_info("one", {"text": "x" * 300_000}),
    ):
        with pytest.raises(HTTPException) as caught:
            action()
        assert caught.value.status_code == 507
        assert "disk is full" in caught.value.detail
    assert (small_disk / "datastore_v2.json").read_bytes() == index
    assert (small_disk / "labels" / "final" / "one.nrrd").read_bytes() == b"a label"

    again = open_studies(small_disk)
    assert again.list_images() == ["one"]
    assert again.get_label_info("one", "final")["kept"] is True
    again.save_label("one", str(label), "final", {"small": True})
    assert again.get_label_info("one", "final")["small"] is True


@pytest.mark.parametrize("name", ["2: T1 SAG", "O'Brien", "CT [lung]", "a&b", "50 % water", "a..b", "膝" * 60])
def test_images_are_called_as_slicer_calls_them(folder: Path, label: Path, tmp_path: Path, name: str) -> None:
    make_images(tmp_path, ["new.png"])
    assert open_studies(folder).add_image(name, str(tmp_path / "new.png"), {}) == name
    open_studies(folder).save_label(name, str(label), "final", {})
    studies = open_studies(folder)
    assert Path(studies.get_label_uri(name, "final")).read_bytes() == b"a label"
    assert studies.get_labeled_images() == [name]


@pytest.mark.parametrize("name", [" a", "a ", "膝" * 67, "a\udcff", 5, ["a"]])
def test_names_that_no_file_can_have_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(HTTPException) as caught:
        open_studies(folder).add_image(name, str(folder / "one.png"), {})
    assert caught.value.status_code == 422


def test_an_image_is_not_replaced_by_another_one(folder: Path, label: Path, tmp_path: Path) -> None:
    studies = open_studies(folder)
    studies.save_label("one", str(label), "final", {"by": "me"})
    Image.new("L", (4, 4), 9).save(tmp_path / "one.tif")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(HTTPException) as caught:
        studies.add_image("one", str(tmp_path / "one.tif"), {})
    assert (caught.value.status_code, "another image 'one'" in caught.value.detail) == (409, True)
    # The same file again is no other image.
    assert studies.add_image("one", str(folder / "one.png"), {}) == "one"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert studies.get_label_info("one", "final")["by"] == "me"


@pytest.mark.parametrize("name", ["id", "path", "score", "slice", "waiting", "problem"])
def test_notes_do_not_hide_what_a_next_sample_is(folder: Path, tmp_path: Path, name: str) -> None:
    make_images(tmp_path, ["new.png"])
    studies = open_studies(folder)
    for action in (
        lambda: studies.update_image_info("one", {name: "two"}),
        lambda: studies.add_image("new", str(tmp_path / "new.png"), {name: "two"}),
    ):
        with pytest.raises(HTTPException) as caught:
            action()
        assert caught.value.status_code == 422
    assert studies.get_image_info("one").get(name) != "two"


def test_names_in_another_encoding_or_of_other_systems_hinder_nothing(folder: Path) -> None:
    for name in (b"M\xfcller.png", b"._one.png"):
        (folder / os.fsdecode(name)).write_bytes((folder / "one.png").read_bytes())
    assert sorted(open_studies(folder).list_images()) == ["four", "one", "three", "two"]


def test_a_label_is_removed_once(folder: Path, label: Path) -> None:
    studies = open_studies(folder)
    image = studies.list_images()[0]
    studies.save_label(image, str(label), "final", {})
    studies.remove_label(image, "final")
    assert image in studies.get_unlabeled_images()
    for name, tag in ((image, "final"), (image, "other"), ("nope", "final")):
        with pytest.raises(HTTPException) as refusal:
            studies.remove_label(name, tag)
        assert refusal.value.status_code == 404


def test_removing_an_image_that_is_a_link_leaves_what_it_leads_to(folder: Path, label: Path, tmp_path: Path) -> None:
    make_images(tmp_path / "archive", ["original.png"])
    (folder / "linked.png").symlink_to(tmp_path / "archive" / "original.png")
    studies = open_studies(folder)
    studies.save_label("linked", str(label), "final", {})
    (folder / "labels" / "original" / "linked.nii.gz").write_bytes(b"not looked for yet")
    studies.remove_image("linked")
    assert (tmp_path / "archive" / "original.png").is_file()
    assert not (folder / "linked.png").is_symlink()
    assert [path for path in (folder / "labels").rglob("*") if path.is_file()] == []
    for _ in range(2):
        assert sorted(studies.list_images()) == ["four", "one", "three", "two"]
        with pytest.raises(HTTPException) as refusal:
            studies.remove_image("linked")
        assert refusal.value.status_code == 404
        studies = open_studies(folder)


@pytest.mark.parametrize("by_hand", [False, True])
def test_the_name_of_an_image_that_was_removed_is_free_at_once(folder: Path, tmp_path: Path, by_hand: bool) -> None:
    Image.new("L", (4, 4), 9).save(tmp_path / "other.tif")
    studies = open_studies(folder)
    if by_hand:
        (folder / "one.png").unlink()
    else:
        studies.remove_image("one")
    assert studies.add_image("one", str(tmp_path / "other.tif"), {}) == "one"
    assert studies.get_image_uri("one") == str(folder / "one.tif")


def test_links_that_lead_nowhere_are_no_images_and_no_labels(folder: Path, tmp_path: Path) -> None:
    make_images(tmp_path / "archive", ["original.png"])
    (folder / "linked.png").symlink_to(tmp_path / "archive" / "original.png")
    studies = open_studies(folder)
    assert "linked" in studies.list_images()
    (tmp_path / "archive" / "original.png").unlink()
    (folder / "labels" / "final" / "one.nrrd").symlink_to(tmp_path / "archive" / "label.nrrd")
    studies.refresh()
    assert sorted(studies.list_images()) == ["four", "one", "three", "two"]
    assert studies.get_labeled_images() == []


def test_the_archive_of_linked_images_names_them_by_their_ids(
    folder: Path, label: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    for name in "abc":
        make_images(tmp_path / name, ["image.png"])
        (tmp_path / name / "image.png").write_text(name)
        (folder / f"{name}.png").symlink_to(tmp_path / name / "image.png")
    studies = open_studies(folder)
    for name in "abc":
        studies.save_label(name, str(label), "final", {"by": name})
    (folder / "c.png").unlink()
    for limit, names in ((None, "ab"), (0, "ab"), (1, "a"), (7, "ab")):
        with zipfile.ZipFile(studies.get_dataset_archive(limit)) as archive:
            expected = [f"{kind}/{name}" for name in names for kind in ("image", "label")]
            assert [name.rpartition(".")[0] for name in archive.namelist()[:-1]] == expected
            assert [archive.read(f"image/{name}.png").decode() for name in names] == [*names]
            assert archive.read("label/a.nrrd") == b"a label"
            metadata = json.loads(archive.read("metadata.json"))
        assert metadata["objects"]["a"]["labels"]["final"]["info"]["by"] == "a"
    assert len(list((tmp_path / "temporary").iterdir())) == 4
    for name in "ab":
        (folder / f"{name}.png").unlink()
    with pytest.raises(HTTPException) as refusal:
        studies.get_dataset_archive(None)
    assert refusal.value.status_code == 404
    # What was not finished is not left behind.
    assert len(list((tmp_path / "temporary").iterdir())) == 4
