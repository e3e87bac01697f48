import csv

import numpy as np
import pytest
import SimpleITK as sitk
from synthetic import write_volume

from activefreq.data.discovery import find_samples
from activefreq.data.oai_zib import OaiZibOptions, prepare_oai_zib
from activefreq.errors import InputError
from activefreq.files.dicom import dicom_series, write_dicom
from activefreq.files.grids import Geometry, Volume

SHAPE = (16, 28, 24)  # (K, J, I): the slice axis is the shortest one, as in OAI-ZIB's 160 x 384 x 384
GEOMETRY = Geometry(SHAPE, (0.36, 0.36, 0.7), (-10.0, 5.0, 3.0))
OPTIONS = OaiZibOptions(slices=(4, 8, 12), validation=1, test=1)


def knee(number):
    """Voxels (K, J, I) uint16 and labels: bone 1 with cartilage 2 above, bone 3 with cartilage 4 below."""
    rng = np.random.default_rng(number)
    array = rng.integers(0, 1200, SHAPE).astype(np.uint16)
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, 2:10, 4:20] = 1
    labels[:, 10:13, 4:20] = 2
    labels[:, 14:17, 4:20] = 4
    labels[:, 17:25, 4:20] = 3
    labels[14:] = 0
    return array, labels


@pytest.fixture
def knees(folders):
    """Six volumes as distributed: 9000001.mhd and 9000001.segmentation_masks.mhd, each with its .raw."""
    for number in range(1, 7):
        array, labels = knee(number)
        write_volume(folders.images / f"900000{number}.mhd", array, GEOMETRY)
        write_volume(folders.labels / f"900000{number}.segmentation_masks.mhd", labels, GEOMETRY)
    return folders


def test_slices_of_cartilage_split_by_patient(knees, tmp_path):
    out = tmp_path / "out"
    reports = prepare_oai_zib(*knees, out, OPTIONS)
    assert [(report.part, report.pairs, report.problems) for report in reports] == [
        ("train", 12, ()),
        ("validation", 3, ()),
        ("test", 3, ()),
    ]
    seen = {}
    for report in reports:
        samples = find_samples(out / report.part / "images", out / report.part / "labels", group=r"(\d+)_")
        seen[report.part] = set(samples.groups)
        for sample in samples:
            array, labels = knee(int(sample.group[-1]))
            k = int(sample.name.split("_")[1])
            assert sample.image.dtype == np.uint16
            np.testing.assert_array_equal(sample.image, array[k])
            np.testing.assert_array_equal(sample.target, np.isin(labels[k], [2, 4]))
    assert len(set.union(*seen.values())) == sum(map(len, seen.values())) == 6
    with (out / "split.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["patient"] for row in rows if row["part"] == "validation"} == seen["validation"]
    assert len(rows) == 6


def test_the_seed_makes_the_split(knees, tmp_path):
    splits = set()
    for seed in range(6):
        options = OaiZibOptions(slices=(4,), validation=2, test=2, seed=seed)
        prepare_oai_zib(*knees, tmp_path / str(seed), options)
        splits.add((tmp_path / str(seed) / "split.csv").read_text())
    assert len(splits) > 1
    prepare_oai_zib(*knees, tmp_path / "again", OaiZibOptions(slices=(4,), validation=2, test=2, seed=0))
    assert (tmp_path / "again" / "split.csv").read_text() == (tmp_path / "0" / "split.csv").read_text()


def test_the_sagittal_axis_is_found_wherever_it_is(folders, tmp_path):
    for number in range(1, 4):
        array, labels = (np.ascontiguousarray(part.transpose(1, 2, 0)) for part in knee(number))
        geometry = Geometry(array.shape, (0.7, 0.36, 0.36))
        write_volume(folders.images / f"{number}.nii.gz", array, geometry)
        write_volume(folders.labels / f"{number}.nii.gz", labels, geometry)
    prepare_oai_zib(*folders, tmp_path / "out", OPTIONS)
    samples = find_samples(tmp_path / "out" / "train" / "images", tmp_path / "out" / "train" / "labels")
    array, labels = knee(int(samples.names[0][0]))
    np.testing.assert_array_equal(samples[0].image, array[4])
    np.testing.assert_array_equal(samples[0].target, np.isin(labels[4], [2, 4]))


def test_images_from_dicom_folders_and_masks_on_their_own_grid(folders, tmp_path):
    for number in range(1, 4):
        array, labels = knee(number)
        write_dicom(dicom_series(Volume(array, GEOMETRY), name=str(number)), folders.images / str(number))
        # The mask is stored the other way round: it must be found by its place in space.
        mask = sitk.Flip(GEOMETRY.apply_to(sitk.GetImageFromArray(labels)), [True, False, True])
        sitk.WriteImage(mask, str(folders.labels / f"{number}.nii.gz"))
    (train, *_) = prepare_oai_zib(*folders, tmp_path / "out", OPTIONS)
    assert (train.pairs, train.problems) == (3, ())
    samples = find_samples(tmp_path / "out" / "train" / "images", tmp_path / "out" / "train" / "labels")
    array, labels = knee(int(samples.names[1][0]))
    np.testing.assert_array_equal(samples[1].image, array[8])
    np.testing.assert_array_equal(samples[1].target, np.isin(labels[8], [2, 4]))


def test_fractional_intensities_are_stretched_over_16_bit(folders, tmp_path):
    for number in range(1, 4):
        array, labels = knee(number)
        write_volume(folders.images / f"{number}.nii.gz", array.astype(np.float32) / 1200 - 0.25, GEOMETRY)
        write_volume(folders.labels / f"{number}.nii.gz", labels, GEOMETRY)
    prepare_oai_zib(*folders, tmp_path / "out", OPTIONS)
    sample = find_samples(tmp_path / "out" / "train" / "images", tmp_path / "out" / "train" / "labels")[0]
    array, _ = knee(int(sample.name[0]))
    assert sample.image.dtype == np.uint16
    assert (sample.image.min(), sample.image.max()) == (0, 65535)
    assert np.corrcoef(sample.image.ravel(), array[4].ravel())[0, 1] > 0.999


def test_bad_volumes_and_slices_are_named(knees, tmp_path):
    (knees.images / "9000001.raw").write_bytes(b"short")
    (knees.labels / "9000002.segmentation_masks.mhd").unlink()
    options = OaiZibOptions(slices=(4, 15, 40), validation=1, test=1)
    reports = prepare_oai_zib(*knees, tmp_path / "out", options)
    problems = {problem.name: problem.reason for report in reports for problem in report.problems}
    assert "9000001.mhd: cannot be read" in problems["9000001"]
    assert problems["9000002"] == "the image 9000002.mhd has no label"
    assert problems["9000003_015"] == "the cartilage has 0 pixels in this slice"
    assert problems["9000003_040"] == "the volume has 16 slices only"
    assert sum(report.pairs for report in reports) == 4
    assert len(problems) == 2 + 4 * 2


def test_an_interrupted_run_goes_on(knees, tmp_path):
    out = tmp_path / "out"
    prepare_oai_zib(*knees, out, OPTIONS)
    images = sorted((out / "train" / "images").iterdir())
    before = images[0].stat().st_mtime_ns
    images[4].unlink()
    reports = prepare_oai_zib(*knees, out, OPTIONS)
    assert [report.pairs for report in reports] == [12, 3, 3]
    assert images[4].is_file()
    assert images[0].stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"what other settings made \(slices \[.*\], not \[4\]\)"):
        prepare_oai_zib(*knees, out, OaiZibOptions(slices=(4,), validation=1, test=1))


def test_options_that_cannot_be_meant(knees, tmp_path):
    with pytest.raises(InputError, match="6 patients cannot be split into 50 for validation, 50 for the test"):
        prepare_oai_zib(*knees, tmp_path / "out")
    with pytest.raises(InputError, match="unknown axis 'x'"):
        prepare_oai_zib(*knees, tmp_path / "out", OaiZibOptions(axis="x"))
    with pytest.raises(InputError, match="slices must be"):
        prepare_oai_zib(*knees, tmp_path / "out", OaiZibOptions(slices=()))
    with pytest.raises(InputError, match=r"slices must not be given twice, as in \[4, 8, 4\]"):
        prepare_oai_zib(*knees, tmp_path / "out", OaiZibOptions(slices=(4, 8, 4), validation=1, test=1))
    with pytest.raises(InputError, match="the seed must be at least 0, not -1"):
        prepare_oai_zib(*knees, tmp_path / "out", OaiZibOptions(slices=(4,), validation=1, test=1, seed=-1))
    assert not (tmp_path / "out").exists()


def test_no_slice_at_all_is_an_error_and_leaves_the_folder_free(knees, tmp_path):
    options = OaiZibOptions(slices=(4, 8), labels=(9,), validation=1, test=1)
    with pytest.raises(
        InputError, match=r"no slice of 6 volumes could be used; the first of 12 problems is 90.*_004: "
    ):
        prepare_oai_zib(*knees, tmp_path / "out", options)
    assert sum(report.pairs for report in prepare_oai_zib(*knees, tmp_path / "out", OPTIONS)) == 18


def test_a_folder_is_not_filled_with_the_split_of_other_patients(knees, tmp_path):
    later = [path for path in knees.images.iterdir() if "9000006" in path.name]
    for path in later:
        path.rename(tmp_path / path.name)
    out = tmp_path / "out"
    prepare_oai_zib(*knees, out, OPTIONS)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for path in later:
        (tmp_path / path.name).rename(path)
    with pytest.raises(InputError, match=r"was prepared of other patients \(see split\.csv\)"):
        prepare_oai_zib(*knees, out, OPTIONS)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
