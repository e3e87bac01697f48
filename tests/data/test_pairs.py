import json
import os
import unicodedata
from pathlib import Path

import pytest

from activefreq.data.pairs import find_pairs
from activefreq.errors import InputError


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


def dicom_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "0001.dcm").write_bytes(b"\0" * 128 + b"DICM")
    return folder


def test_same_stem_whatever_the_format_and_the_case_of_the_extension(tmp_path):
    images = fill(tmp_path / "i", "a.JPG", "b.nii.gz", "c.d.png", "e.mhd", "f.dcm", "g.Tiff")
    labels = fill(tmp_path / "l", "a.png", "b.NRRD", "c.d.PNG", "e.mha", "f.nii", "g.tif")
    pairs, problems = find_pairs(images, labels)
    assert [pair.name for pair in pairs] == ["a", "b", "c.d", "e", "f", "g"]
    assert [(pair.image.name, pair.label.name) for pair in pairs] == [
        ("a.JPG", "a.png"),
        ("b.nii.gz", "b.NRRD"),
        ("c.d.png", "c.d.PNG"),
        ("e.mhd", "e.mha"),
        ("f.dcm", "f.nii"),
        ("g.Tiff", "g.tif"),
    ]
    assert problems == []


def test_stems_are_told_apart_by_case(tmp_path):
    pairs, problems = find_pairs(fill(tmp_path / "i", "a.png", "B.png"), fill(tmp_path / "l", "a.png", "b.png"))
    assert [pair.name for pair in pairs] == ["a"]
    assert [problem.name for problem in problems] == ["B", "b"]


def test_the_label_suffix_of_isic_and_others(tmp_path):
    images = fill(tmp_path / "i", "ISIC_1.jpg", "x.jpg")
    labels = fill(tmp_path / "l", "ISIC_1_segmentation.png", "x-mask.png")
    pairs, problems = find_pairs(images, labels)
    assert [pair.label.name for pair in pairs] == ["ISIC_1_segmentation.png"]
    assert [str(problem) for problem in problems] == [
        "x: the image x.jpg has no label",
        "x-mask: the label x-mask.png has no image",
    ]
    pairs, _ = find_pairs(images, labels, label_suffixes=("-mask", "_segmentation"))
    assert len(pairs) == 2


def test_an_exact_stem_goes_before_one_with_a_suffix(tmp_path):
    pairs, problems = find_pairs(fill(tmp_path / "i", "a.jpg"), fill(tmp_path / "l", "a.png", "a_segmentation.png"))
    assert pairs[0].label.name == "a.png"
    assert problems[0].name == "a_segmentation"


def test_two_files_of_one_stem_are_a_problem(tmp_path):
    images = fill(tmp_path / "i", "a.jpg", "a.png", "b.jpg", "c.jpg")
    labels = fill(tmp_path / "l", "a.png", "b.png", "b.nii.gz", "c.png")
    pairs, problems = find_pairs(images, labels)
    assert [pair.name for pair in pairs] == ["c"]
    assert [str(problem) for problem in problems] == [
        "a: several images have this name: a.jpg, a.png",
        "b: several labels have this name: b.nii.gz, b.png",
    ]


def test_other_and_hidden_files_do_not_count(tmp_path):
    images = fill(tmp_path / "i", "a.mhd", "a.raw", "README.txt", ".b.png", "Thumbs.db")
    pairs, problems = find_pairs(images, fill(tmp_path / "l", "a.mhd", "a.raw", "list.csv"))
    assert [pair.name for pair in pairs] == ["a"]
    assert problems == []


NOT_READ = "images of this format are not read; convert it to PNG, TIFF, NIfTI or NRRD"


def test_images_in_formats_that_are_not_read_are_problems(tmp_path):
    # Of "a" there is an image that is read; the features beside it are nothing that is missed.
    images = fill(tmp_path / "i", "a.png", "a.npy", "b.WEBP", "c.npz", "list.csv", "notes.txt", "d.json", ".e.gif")
    labels = fill(tmp_path / "l", "a.png", "weights.npy")
    pairs, problems = find_pairs(images, labels)
    assert [pair.name for pair in pairs] == ["a"]
    assert [str(problem) for problem in problems] == [f"b: b.WEBP: {NOT_READ}", f"c: c.npz: {NOT_READ}"]


def test_a_label_in_a_format_that_is_not_read_is_no_image(tmp_path):
    folder = fill(tmp_path / "both", "a.png", "a_mask.png", "b.gif", "b_mask.gif")
    assert [str(problem) for problem in find_pairs(folder, folder)[1]] == [f"b: b.gif: {NOT_READ}"]


def test_a_studies_folder_may_hold_images_in_other_formats(tmp_path):
    fill(tmp_path, "a.jpg", "b.webp")
    fill(tmp_path / "labels" / "final", "a.nii.gz")
    assert find_pairs(tmp_path)[1] == []


def test_a_subfolder_of_dicom_files_is_a_volume(tmp_path):
    dicom_folder(tmp_path / "i" / "1.2.3.4")
    fill(tmp_path / "i" / "notes", "text.txt")
    (tmp_path / "i" / "nothing").mkdir()
    pairs, problems = find_pairs(tmp_path / "i", fill(tmp_path / "l", "1.2.3.4.nii.gz"))
    assert [(pair.name, pair.image.name) for pair in pairs] == [("1.2.3.4", "1.2.3.4")]
    assert problems == []


def test_one_image_and_one_label_whatever_their_names(tmp_path):
    folder = fill(tmp_path, "scan.nii.gz", "truth.nrrd")
    pairs, _ = find_pairs(folder / "scan.nii.gz", folder / "truth.nrrd")
    assert [(pair.name, pair.label.name) for pair in pairs] == [("scan", "truth.nrrd")]
    pairs, _ = find_pairs(dicom_folder(tmp_path / "1.2.840"), folder / "truth.nrrd")
    assert [(pair.name, pair.image.name) for pair in pairs] == [("1.2.840", "1.2.840")]
    with pytest.raises(InputError, match=r"is a file, but .* is a folder"):
        find_pairs(folder / "scan.nii.gz", tmp_path)


@pytest.mark.parametrize("explicit", [True, False])
def test_a_studies_folder_has_images_without_labels(tmp_path, explicit):
    fill(tmp_path, "a.jpg", "b.jpg", "c.nii.gz", ".lock")
    labels = fill(tmp_path / "labels" / "final", "a.nii.gz", "c.nii.gz", "gone.nii.gz")
    pairs, problems = find_pairs(tmp_path, labels if explicit else None)
    assert [pair.name for pair in pairs] == ["a", "c"]
    assert [str(problem) for problem in problems] == ["gone: the label gone.nii.gz has no image"]


def test_the_datastore_says_which_of_two_files_counts(tmp_path):
    dicom_folder(tmp_path / "1.2")
    fill(tmp_path, "1.2.nii.gz")
    fill(tmp_path / "labels" / "final", "1.2.nrrd", "1.2.nii.gz")
    pairs_of = {"image": {"ext": ".nii.gz"}, "labels": {"final": {"ext": ".nrrd", "info": {}}}}
    index = tmp_path / "datastore_v2.json"
    index.write_text(json.dumps({"objects": {"1.2": pairs_of, "other": {"image": {"ext": ".jpg"}}}}))
    pairs, problems = find_pairs(tmp_path)
    assert [(pair.image.name, pair.label.name) for pair in pairs] == [("1.2.nii.gz", "1.2.nrrd")]
    assert problems == []
    for broken in ("{", "[]", '{"objects": {"1.2": {"labels": {"final": {}}}}}'):
        index.write_text(broken)
        with pytest.raises(InputError, match=r"datastore_v2\.json: is no index"):
            find_pairs(tmp_path)


def test_a_wrong_folder_is_an_error_that_says_what_was_found(tmp_path):
    images = fill(tmp_path / "i", "a.jpg", "b.jpg")
    with pytest.raises(InputError, match="none: no such file or folder"):
        find_pairs(tmp_path / "none", images)
    with pytest.raises(InputError, match="final: no such file or folder"):
        find_pairs(images)
    with pytest.raises(InputError, match=r"found 2 images such as a\.jpg and 1 labels such as c\.png"):
        find_pairs(images, fill(tmp_path / "l", "c.png"))
    with pytest.raises(InputError, match=r"found no images among 1 files and folders such as x\.txt and 2 labels"):
        find_pairs(fill(tmp_path / "t", "x.txt"), images)
    with pytest.raises(InputError, match="found no images and 2 labels"):
        find_pairs(fill(tmp_path / "empty"), images)


def test_images_and_labels_in_one_folder_are_told_apart_by_the_suffix(tmp_path):
    folder = fill(tmp_path / "both", "a.jpg", "a_segmentation.png", "b.png", "b_segmentation.png", "c.png")
    fill(folder, "d_segmentation.png")
    pairs, problems = find_pairs(folder, tmp_path / "." / "both")
    assert [(pair.name, pair.image.name, pair.label.name) for pair in pairs] == [
        ("a", "a.jpg", "a_segmentation.png"),
        ("b", "b.png", "b_segmentation.png"),
    ]
    assert [str(problem) for problem in problems] == [
        "c: the image c.png has no label",
        "d_segmentation: the label d_segmentation.png has no image",
    ]


def test_no_image_is_its_own_label(tmp_path):
    folder = fill(tmp_path / "both", "a.png", "b.png")
    with pytest.raises(InputError, match=r"no image in .* has a label in"):
        find_pairs(folder, folder)


@pytest.mark.parametrize("name", [".DS_Store", "LICENSE", "000_readme.txt"])
def test_a_series_is_found_behind_other_files(tmp_path, name):
    series = dicom_folder(tmp_path / "i" / "scan")
    (series / name).write_text("not a slice")
    pairs, _ = find_pairs(tmp_path / "i", fill(tmp_path / "l", "scan.nrrd"))
    assert [pair.image for pair in pairs] == [series]


def test_names_that_are_not_utf8_are_problems_that_can_be_written(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    pairs, problems = find_pairs(fill(tmp_path / "i", "a.png", name), fill(tmp_path / "l", "a.png", name))
    assert [pair.name for pair in pairs] == ["a"]
    assert [str(problem) for problem in problems] == ["caf\\udce9: the name of the file is not UTF-8; rename it"]
    with pytest.raises(InputError, match=r"caf\\udce9.*is not UTF-8"):
        find_pairs(tmp_path / "i" / name, tmp_path / "l" / "a.png")


@pytest.mark.parametrize(
    "end", ["_mask", "_seg", "_Segmentation", "_label", "_labels", "_GT", "-label", "-seg", ".seg", "_SEGMENTATION"]
)
def test_common_ends_of_labels_in_any_case(tmp_path, end):
    images = fill(tmp_path / "i", "a.nrrd", "a_seg2.nrrd")
    pairs, problems = find_pairs(images, fill(tmp_path / "l", f"a{end}.nrrd", f"a_seg2{end}.nrrd"))
    assert [(pair.name, pair.label.name) for pair in pairs] == [("a", f"a{end}.nrrd"), ("a_seg2", f"a_seg2{end}.nrrd")]
    assert problems == []
    both = fill(tmp_path / "both", "a.nrrd", f"a{end}.nrrd")
    assert [(pair.image.name, pair.label.name) for pair in find_pairs(both, both)[0]] == [("a.nrrd", f"a{end}.nrrd")]


def test_labels_of_several_ends_are_a_problem_and_the_label_of_another_image_is_none(tmp_path):
    images = fill(tmp_path / "i", "a.png", "b.png", "b_seg.png")
    labels = fill(tmp_path / "l", "a_mask.png", "a_seg.png", "b_seg.png")
    pairs, problems = find_pairs(images, labels)
    assert [(pair.name, pair.label.name) for pair in pairs] == [("b_seg", "b_seg.png")]
    assert [str(problem) for problem in problems] == [
        "a: several labels may be meant: a_mask.png, a_seg.png",
        "b: the image b.png has no label",
    ]


def test_an_error_says_which_ends_a_label_may_have(tmp_path):
    with pytest.raises(InputError, match=r"is named as its image, or has one of _segmentation, _seg, .* on top"):
        find_pairs(fill(tmp_path / "i", "a.png"), fill(tmp_path / "l", "a_truth.png"))


def test_accents_may_be_composed_or_not(tmp_path):
    composed, apart = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))
    assert composed != apart
    pairs, problems = find_pairs(fill(tmp_path / "i", f"{apart}.png"), fill(tmp_path / "l", f"{composed}_mask.png"))
    assert [pair.name for pair in pairs] == [composed]
    assert problems == []
