import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image
from synthetic import rgb_blob, write_picture

from activefreq.data.discovery import find_samples
from activefreq.data.isic2017 import Isic2017Options, half_parts, prepare_isic2017
from activefreq.errors import InputError

SMALL = Isic2017Options(size=32)


def make_part(source, prefix, numbers, *, zipped=False):
    """A part as the challenge packs it: a folder in a zip file, superpixels beside the images, a table of metadata."""
    data, truth = source / f"{prefix}_Data", source / f"{prefix}_Part1_GroundTruth"
    for folder in (data, truth):
        folder.mkdir(parents=True)
    (data / f"{prefix}_Data_metadata.csv").write_text("image_id,age_approximate,sex\n")
    for number in numbers:
        image, mask = rgb_blob(number, (60, 90))
        write_picture(data / f"ISIC_{number:07d}.jpg", image)
        write_picture(data / f"ISIC_{number:07d}_superpixels.png", image)
        write_picture(truth / f"ISIC_{number:07d}_segmentation.png", mask)
    if zipped:
        for folder in (data, truth):
            shutil.make_archive(str(folder), "zip", source, folder.name)
            shutil.rmtree(folder)


@pytest.mark.parametrize("zipped", [True, False])
def test_parts_are_named_as_in_the_paper(tmp_path, zipped):
    source = tmp_path / "downloads"
    make_part(source, "ISIC-2017_Training", [0, 1, 2], zipped=zipped)
    make_part(source, "ISIC-2017_Validation", [3], zipped=zipped)
    make_part(source, "ISIC-2017_Test_v2", [4, 5], zipped=zipped)
    reports = prepare_isic2017(source, tmp_path / "out", SMALL)
    assert [(report.part, report.pairs, report.problems) for report in reports] == [
        ("train", 3, ()),
        ("validation", 2, ()),
        ("test", 1, ()),
    ]
    samples = find_samples(tmp_path / "out" / "validation" / "images", tmp_path / "out" / "validation" / "labels")
    assert samples.names == ("ISIC_0000004", "ISIC_0000005")
    image, mask = rgb_blob(5, (60, 90))
    assert samples[1].image.shape == (32, 32, 3)
    assert np.abs(samples[1].image.mean(axis=(0, 1)) - image.mean(axis=(0, 1))).max() < 3
    assert samples[1].target.mean() == pytest.approx(mask.mean(), abs=0.01)


def test_proportions_can_be_kept(tmp_path):
    make_part(tmp_path, "ISIC-2017_Training", [1])
    prepare_isic2017(tmp_path, tmp_path / "out", Isic2017Options(size=45, fit="inside"))
    with Image.open(tmp_path / "out" / "train" / "images" / "ISIC_0000001.jpg") as image:
        assert image.size == (45, 30)


@pytest.mark.parametrize("keep", [True, False])
def test_training_images_of_a_test_lesion(tmp_path, keep):
    make_part(tmp_path, "ISIC-2017_Training", [1, 171, 12970])
    options = Isic2017Options(size=32, keep_overlap=keep)
    (report,) = prepare_isic2017(tmp_path, tmp_path / "out", options)
    assert report.pairs == (3 if keep else 1)


def test_bad_files_are_named_and_the_rest_is_written(tmp_path):
    make_part(tmp_path, "ISIC-2017_Training", range(1, 7))
    data, truth = tmp_path / "ISIC-2017_Training_Data", tmp_path / "ISIC-2017_Training_Part1_GroundTruth"
    (data / "ISIC_0000001.jpg").write_bytes((data / "ISIC_0000001.jpg").read_bytes()[:600])
    (truth / "ISIC_0000002_segmentation.png").unlink()
    (data / "ISIC_0000003.jpg").unlink()
    write_picture(truth / "ISIC_0000004_segmentation.png", np.ones((60, 80), bool))
    write_picture(truth / "ISIC_0000005_segmentation.png", np.zeros((60, 90), bool))
    (report,) = prepare_isic2017(tmp_path, tmp_path / "out", SMALL)
    assert str(report) == "train: 1 images, 5 problems"
    reasons = {problem.name: problem.reason for problem in report.problems}
    assert "ISIC_0000001.jpg: cannot be" in reasons["ISIC_0000001"]
    assert reasons["ISIC_0000002"] == "the image has no label"
    assert reasons["ISIC_0000003"] == "the label has no image"
    assert "(60, 80)" in reasons["ISIC_0000004"]
    assert reasons["ISIC_0000005"] == "the label is empty"
    assert [path.name for path in (tmp_path / "out" / "train" / "images").iterdir()] == ["ISIC_0000006.jpg"]


def test_a_damaged_zip_member_is_named(tmp_path):
    make_part(tmp_path, "ISIC-2017_Training", [1, 2], zipped=True)
    archive = tmp_path / "ISIC-2017_Training_Data.zip"
    with zipfile.ZipFile(archive) as file:
        member = next(info for info in file.infolist() if info.filename.endswith("ISIC_0000002.jpg"))
    content = bytearray(archive.read_bytes())
    middle = member.header_offset + 30 + len(member.filename) + member.compress_size // 2
    content[middle : middle + 20] = bytes(20)
    archive.write_bytes(content)
    (report,) = prepare_isic2017(tmp_path, tmp_path / "out", SMALL)
    assert report.pairs == 1
    assert "ISIC_0000002.jpg cannot be unpacked" in report.problems[0].reason
    archive.write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"ISIC-2017_Training_Data\.zip: cannot be read"):
        prepare_isic2017(tmp_path, tmp_path / "out", SMALL)


def test_an_interrupted_run_goes_on_and_does_not_mix_settings(tmp_path):
    make_part(tmp_path, "ISIC-2017_Training", [1, 2, 3])
    out = tmp_path / "out"
    prepare_isic2017(tmp_path, out, SMALL)
    kept, lost = (out / "train" / "images" / f"ISIC_{number:07d}.jpg" for number in (1, 2))
    before = kept.stat().st_mtime_ns
    lost.unlink()
    (report,) = prepare_isic2017(tmp_path, out, SMALL)
    assert report.pairs == 3
    assert lost.is_file()
    assert kept.stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"what other settings made \(size \d+, not 64\)"):
        prepare_isic2017(tmp_path, out, Isic2017Options(size=64))


def test_a_wrong_folder_is_an_error(tmp_path):
    with pytest.raises(InputError, match="none: no such folder"):
        prepare_isic2017(tmp_path / "none", tmp_path / "out")
    (tmp_path / "ISIC-2017_Training_Data").mkdir()
    with pytest.raises(InputError, match="holds none of ISIC-2017_Training_Data and"):
        prepare_isic2017(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_part_of_which_half_is_there_is_named(tmp_path):
    make_part(tmp_path, "ISIC-2017_Training", [1])
    make_part(tmp_path, "ISIC-2017_Validation", [2], zipped=True)
    assert half_parts(tmp_path) == {}
    (tmp_path / "ISIC-2017_Validation_Part1_GroundTruth.zip").unlink()
    (tmp_path / "ISIC-2017_Test_v2_Part1_GroundTruth.zip").write_bytes(b"")
    assert half_parts(tmp_path) == {
        "validation": "ISIC-2017_Test_v2_Data",
        "test": "ISIC-2017_Validation_Part1_GroundTruth",
    }
    (report,) = prepare_isic2017(tmp_path, tmp_path / "out", SMALL)
    assert report.part == "train"
