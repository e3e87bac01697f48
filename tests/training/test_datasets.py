from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from synthetic import grey_ring, write_picture

from activefreq.data.parts import part_of
from activefreq.errors import InputError
from activefreq.training.datasets import DataSet, Division, load_data

if TYPE_CHECKING:
    from conftest import Folders

ALL_PARTS = Division(validation=0.4, test=0.2, seed=1)


def data_set(folders: Folders, **options: object) -> DataSet:
    return DataSet(images=str(folders.images), labels=str(folders.labels), **options)  # type: ignore[arg-type]


def test_groups_are_divided_and_never_cut(ring_folders: Folders) -> None:
    division = Division(validation=0.4, test=0.0, seed=2)
    data = load_data([data_set(ring_folders, group="sunnybrook", name="rings")], division, validation_images=100)
    by_group: dict[str, set[str]] = {}
    for row in data.placements:
        by_group.setdefault(row.group, set()).add(row.part)
        assert row.data_set == "rings"
        assert row.part == part_of(row.group, validation=0.4, test=0.0, seed=2)
    assert set(by_group) == {"SC-N-01", "SC-N-02", "SC-N-03"}
    assert all(len(parts) == 1 for parts in by_group.values())
    counts = Counter(row.part for row in data.placements)
    assert data.training.length == counts["train"] == 6 - len(data.validation)
    assert len(data.validation) == counts["validation"] > 0


def test_the_test_part_is_never_read_into_either(lesion_folders: Folders) -> None:
    data = load_data([data_set(lesion_folders)], ALL_PARTS, validation_images=100)
    counts = Counter(row.part for row in data.placements)
    assert sum(counts.values()) == 6
    assert min(counts["train"], counts["validation"], counts["test"]) > 0
    assert data.training.length + len(data.validation) == 6 - counts["test"]


def test_whole_sets_can_be_either_part(lesion_folders: Folders, studies_folder: Path) -> None:
    data = load_data(
        [
            data_set(lesion_folders, part="train", name="lesions"),
            DataSet(images=str(studies_folder), part="validation", name="studies"),
        ],
        validation_images=100,
    )
    assert {(row.data_set, row.part) for row in data.placements} == {("lesions", "train"), ("studies", "validation")}
    assert (data.training.length, len(data.validation)) == (6, 3)


def test_validation_images_follow_the_weights(lesion_folders: Folders, tmp_path: Path) -> None:
    for number in range(6):
        image, mask = grey_ring(number)
        for kind, picture in (("rings", image), ("masks", mask)):
            (tmp_path / kind).mkdir(exist_ok=True)
            write_picture(tmp_path / kind / f"ring_{number}.png", picture)
    division = Division(validation=0.5, test=0.0, seed=3)
    rings = DataSet(images=str(tmp_path / "rings"), labels=str(tmp_path / "masks"), weight=1.0)
    sets = [data_set(lesion_folders, weight=3.0), rings]
    data = load_data(sets, division, validation_images=4)
    assert data.training.shares == (0.75, 0.25)
    shapes = Counter(data.validation[index].target.shape for index in range(len(data.validation)))
    assert shapes == {(48, 64): min(3, 6 - len(data.training.sources[0])), (64, 64): 1}
    with pytest.raises(IndexError):
        data.validation[len(data.validation)]


def test_bad_pairs_are_named_and_skipped(lesion_folders: Folders) -> None:
    image = lesion_folders.images / "ISIC_0000002.jpg"
    image.write_bytes(image.read_bytes()[:600])
    (lesion_folders.labels / "ISIC_0000003_segmentation.png").unlink()
    data = load_data([data_set(lesion_folders)], Division(validation=0.0, test=0.0), validation_images=4)
    assert data.training.length == 4
    assert {problem.name for problem in data.problems} == {"ISIC_0000002", "ISIC_0000003"}


def test_names_and_files_of_names_choose(lesion_folders: Folders, tmp_path: Path) -> None:
    listed = tmp_path / "twins.txt"
    listed.write_text("ISIC_0000001\nISIC_0000002\n")
    division = Division(validation=0.0, test=0.0)
    data = load_data([data_set(lesion_folders, exclude=(str(listed), "ISIC_0000005"))], division, validation_images=4)
    assert [row.name[-1] for row in data.placements] == ["3", "4", "6"]
    data = load_data([data_set(lesion_folders, include=(str(listed),))], division, validation_images=4)
    assert [row.name[-1] for row in data.placements] == ["1", "2"]


def test_a_misspelt_name_beside_a_good_one_is_told(lesion_folders: Folders) -> None:
    division = Division(validation=0.0, test=0.0)
    data = load_data(
        [data_set(lesion_folders, exclude=("ISIC_0000001", "ISIC_000000l"))], division, validation_images=4
    )
    assert len(data.placements) == 5
    assert [str(problem) for problem in data.problems] == ["ISIC_000000l: is to be left out, but was not found"]


@pytest.mark.parametrize("name", ["twins.txt", "lists/twins", "twins.csv"])
def test_a_file_of_names_that_is_not_there_is_no_name(lesion_folders: Folders, name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: no such file"):
        load_data([data_set(lesion_folders, exclude=(name,))], validation_images=4)


def test_data_sets_of_one_name_are_told_apart(lesion_folders: Folders, studies_folder: Path) -> None:
    sets = [data_set(lesion_folders, name="a"), DataSet(images=str(studies_folder), name="a")]
    data = load_data(sets, Division(validation=0.0, test=0.0), validation_images=4)
    assert {row.data_set for row in data.placements} == {"a-1", "a-2"}


def test_what_cannot_be_is_refused(lesion_folders: Folders, studies_folder: Path) -> None:
    with pytest.raises(InputError, match="1 of 2 data sets have a weight"):
        load_data([data_set(lesion_folders, weight=1.0), DataSet(images=str(studies_folder))], validation_images=4)
    with pytest.raises(InputError, match="above 0"):
        load_data([data_set(lesion_folders, weight=0.0)], validation_images=4)
    with pytest.raises(InputError, match="training part: there are 6 groups such as ISIC_0000001"):
        load_data([data_set(lesion_folders, part="validation")], validation_images=4)
    with pytest.raises(InputError, match="no group falls into the validation part of 1e-06"):
        load_data([data_set(lesion_folders)], Division(validation=1e-6, test=0.0), validation_images=4)
    with pytest.raises(InputError, match="nowhere"):
        load_data([DataSet(images="nowhere", labels="nowhere")], validation_images=4)
    for shares in ({"validation": 0.6, "test": 0.4}, {"validation": float("nan")}, {"test": float("nan")}):
        with pytest.raises(InputError, match="shares of validation"):
            Division(**shares)
