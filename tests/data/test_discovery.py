import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from synthetic import oblique_volume, rgb_blob, write_picture, write_volume

from activefreq.data import samples
from activefreq.data.discovery import find_samples
from activefreq.errors import InputError
from activefreq.files.grids import Geometry
from activefreq.files.volume_writing import write_mask


def test_pictures(lesion_folders):
    source = find_samples(*lesion_folders)
    assert len(source) == 6
    assert source.problems == ()
    assert source.names == source.groups == tuple(f"ISIC_{number:07d}" for number in range(1, 7))
    sample = source[2]
    image, mask = rgb_blob(3)
    assert (sample.name, sample.group) == ("ISIC_0000003", "ISIC_0000003")
    assert sample.image.shape == image.shape
    assert np.abs(sample.image.astype(int) - image).mean() < 8
    assert sample.target.dtype == bool
    np.testing.assert_array_equal(sample.target, mask)


def test_all_slices_of_volumes_with_an_object(volume_folders):
    source = find_samples(*volume_folders)
    _, labels = oblique_volume(1)
    with_object = np.flatnonzero(labels.any(axis=(1, 2)))
    assert 0 < len(with_object) < len(labels)
    assert source.names[: len(with_object)] == tuple(f"scan_001#k={k:03d}" for k in with_object)
    assert set(source.groups) == {"scan_001", "scan_002", "scan_003"}
    assert find_samples(*volume_folders, slices="all").names == source.names
    volume, labels = oblique_volume(2)
    sample = source[source.names.index(f"scan_002#k={with_object[1]:03d}")]
    np.testing.assert_array_equal(sample.image, volume.array[with_object[1]])
    np.testing.assert_array_equal(sample.target, labels[with_object[1]] > 0)


def test_named_slices_that_cannot_be_used_are_problems(volume_folders):
    source = find_samples(*volume_folders, slices=[3, 0, 3, 9])
    assert source.names == ("scan_001#k=003", "scan_002#k=003", "scan_003#k=003")
    assert [str(problem) for problem in source.problems][:2] == [
        "scan_001#k=000: the object has 0 pixels, at least 1 are needed",
        "scan_001#k=009: the volume has 6 slices only",
    ]
    assert len(source.problems) == 6


def test_label_value_and_min_area(volume_folders):
    _, labels = oblique_volume(1)
    source = find_samples(*volume_folders, label_value=2, slices=[3])
    np.testing.assert_array_equal(source[0].target, labels[3] == 2)
    areas = (labels > 0).sum(axis=(1, 2))
    source = find_samples(*volume_folders, min_area=int(areas.max()))
    assert len(source) == 3 * int((areas == areas.max()).sum())
    with pytest.raises(InputError, match=r"no usable sample among 3 pairs.*scan_001: in its largest slice the object"):
        find_samples(*volume_folders, min_area=10_000)
    with pytest.raises(InputError, match="no usable sample"):
        find_samples(*volume_folders, label_value=9)


def test_a_wrong_label_value_is_not_blamed_on_an_image_without_a_label(lesion_folders):
    (lesion_folders.labels / "ISIC_0000001_segmentation.png").unlink()
    with pytest.raises(InputError, match="the first of 5 problems is ISIC_0000002: the object has 0"):
        find_samples(*lesion_folders, label_value=9)


def test_volumes_of_one_slice_are_named_like_pictures(folders):
    image, mask = rgb_blob(0)
    write_volume(folders.images / "a.nii.gz", image[None], Geometry((1, *mask.shape)))
    write_mask(folders.labels / "a.nii.gz", mask, like=Geometry((1, *mask.shape)))
    source = find_samples(*folders, slices=[40])
    assert source.names == ("a",)
    np.testing.assert_array_equal(source[0].image, image)
    np.testing.assert_array_equal(source[0].target, mask)


def test_bad_pairs_are_recorded_and_the_rest_is_used(lesion_folders):
    images, labels = lesion_folders
    write_picture(labels / "ISIC_0000001_segmentation.png", np.zeros((48, 64), bool))
    write_picture(labels / "ISIC_0000002_segmentation.png", np.ones((48, 60), bool))
    (labels / "ISIC_0000003_segmentation.png").write_bytes(b"\x89PNG broken")
    (images / "ISIC_0000004.jpg").write_text("")
    (labels / "ISIC_0000005_segmentation.png").unlink()
    source = find_samples(images, labels)
    assert source.names == ("ISIC_0000006",)
    reasons = {problem.name: problem.reason for problem in source.problems}
    assert reasons["ISIC_0000001"] == "the object has 0 pixels, at least 1 are needed"
    assert "does not fit the image of 48 x 64" in reasons["ISIC_0000002"]
    assert "ISIC_0000003_segmentation.png" in reasons["ISIC_0000003"]
    assert "the file is empty" in reasons["ISIC_0000004"]
    assert reasons["ISIC_0000005"] == "the image ISIC_0000005.jpg has no label"
    assert len(source.problems) == 5


def test_a_truncated_image_is_found_when_read_or_verified(lesion_folders):
    path = lesion_folders.images / "ISIC_0000002.jpg"
    path.write_bytes(path.read_bytes()[:-400])
    source = find_samples(*lesion_folders)
    assert len(source) == 6
    with pytest.raises(InputError, match=r"ISIC_0000002: .*ISIC_0000002\.jpg: cannot be decoded"):
        source[1]
    verified = source.verified()
    assert len(verified) == 5
    assert "ISIC_0000002" not in verified.names
    assert [problem.name for problem in verified.problems] == ["ISIC_0000002"]
    for path in lesion_folders.images.iterdir():
        path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(InputError, match="no image can be read; the first of 6 problems is ISIC_0000001"):
        find_samples(*lesion_folders).verified()


def test_include_and_exclude(lesion_folders):
    names = [f"ISIC_{number:07d}" for number in range(1, 7)]
    source = find_samples(*lesion_folders, exclude=names[:2])
    assert source.names == tuple(names[2:])
    source = find_samples(*lesion_folders, include=[names[4], "nobody"], exclude=names[:1])
    assert source.names == (names[4],)
    assert [str(problem) for problem in source.problems] == ["nobody: is to be included, but was not found"]


def test_what_is_not_asked_for_is_no_problem(lesion_folders):
    (lesion_folders.labels / "ISIC_0000005_segmentation.png").unlink()
    assert find_samples(*lesion_folders, include=["ISIC_0000001"]).problems == ()
    assert find_samples(*lesion_folders, exclude=["ISIC_0000005"]).problems == ()
    assert len(find_samples(*lesion_folders).problems) == 1


def test_studies_folder(studies_folder):
    source = find_samples(studies_folder)
    assert source.names == ("lesion_1", "lesion_2", "lesion_3")
    assert source.problems == ()
    np.testing.assert_array_equal(source[1].target, rgb_blob(2)[1])


def test_groups(ring_folders, volume_folders):
    source = find_samples(*ring_folders, group="sunnybrook", include=[p.stem for p in ring_folders.images.glob("SC*")])
    assert source.groups == ("SC-N-01", "SC-N-01", "SC-N-02", "SC-N-02", "SC-N-03", "SC-N-03")
    source = find_samples(*volume_folders, include=["scan_001", "scan_002"], group=r".*_00(\d)")
    assert set(source.groups) == {"1", "2"}


def test_options_that_cannot_be_meant(lesion_folders):
    for slices in ("some", [], [-1], [1.5], [True]):
        with pytest.raises(InputError, match="slices must be"):
            find_samples(*lesion_folders, slices=slices)
    with pytest.raises(InputError, match="min_area must be at least 1"):
        find_samples(*lesion_folders, min_area=0)


def test_indices_and_subsets(lesion_folders):
    source = find_samples(*lesion_folders)
    assert source[-1].name == "ISIC_0000006"
    assert source[np.int64(1)].name == "ISIC_0000002"
    with pytest.raises(IndexError):
        source[6]
    assert [sample.name for sample in source] == list(source.names)
    assert source.subset([4, 0]).names == ("ISIC_0000005", "ISIC_0000001")
    assert source.subset(np.array([2]))[0].name == "ISIC_0000003"


def test_a_source_survives_pickling(volume_folders):
    source = find_samples(*volume_folders, label_value=[2])
    expected = source[3]
    copy = pickle.loads(pickle.dumps(source))
    assert copy.names == source.names
    assert copy.problems == source.problems
    np.testing.assert_array_equal(copy[3].target, expected.target)
    assert len(pickle.dumps(source)) < 20_000


def test_several_threads_get_what_they_ask_for(volume_folders):
    source = find_samples(*volume_folders)
    expected = [sample.image for sample in source]
    indices = np.random.default_rng(0).integers(0, len(source), 200)
    with ThreadPoolExecutor(4) as pool:
        for index, sample in zip(indices, pool.map(source.__getitem__, indices), strict=True):
            assert sample.name == source.names[index]
            np.testing.assert_array_equal(sample.image, expected[index])


def test_a_volume_is_read_once_for_its_slices(volume_folders, monkeypatch):
    source = find_samples(*volume_folders)
    reads = []

    def counted(pair):
        reads.append(pair.name)
        return read(pair)

    read = samples.read_slices
    monkeypatch.setattr(samples, "read_slices", counted)
    for sample in source:
        assert sample.image.size > 0
    assert reads == ["scan_001", "scan_002", "scan_003"]


def test_files_may_be_named_with_their_extension(lesion_folders):
    whole = find_samples(*lesion_folders)
    one = "ISIC_0000002"
    left = find_samples(*lesion_folders, exclude=[f"{one}.jpg"])
    assert set(left.names) == set(whole.names) - {one}
    assert left.problems == ()
    only = find_samples(*lesion_folders, include=[f"{one}.jpg"])
    assert (only.names, only.problems) == ((one,), ())


def test_a_list_of_files_to_leave_out_that_fits_none_is_a_problem(lesion_folders):
    source = find_samples(*lesion_folders, exclude=["ISIC_9", "ISIC_8;0"])
    (problem,) = source.problems
    assert str(problem) == "ISIC_8;0 and 1 others: to be left out, but none of these was found"
    assert find_samples(*lesion_folders, exclude=["ISIC_0000002", "ISIC_9"]).problems == ()


def test_each_file_to_leave_out_that_somebody_typed_has_to_be_there(lesion_folders):
    typed = ["ISIC_0000002", "ISIC_0000003.jpg", "ISIC_8"]
    source = find_samples(*lesion_folders, exclude=[*typed, "listed"], typed=typed)
    assert len(source) == 4
    assert [str(problem) for problem in source.problems] == ["ISIC_8: is to be left out, but was not found"]
    source = find_samples(*lesion_folders, exclude=["ISIC_8", "listed"], typed=["ISIC_8"])
    assert [problem.name for problem in source.problems] == ["ISIC_8", "listed"]


def test_a_volume_that_cannot_be_read_is_one_problem_and_read_once(volume_folders, monkeypatch):
    source = find_samples(*volume_folders)
    broken = source.references[0].pair
    slices = [reference.name for reference in source.references if reference.pair == broken]
    assert len(slices) > 1
    asked = []

    def fail(pair):
        asked.append(pair)
        if pair == broken:
            raise InputError("it is damaged")
        return read(pair)

    read = samples.read_slices
    monkeypatch.setattr(samples, "read_slices", fail)
    verified = source.verified()
    assert asked.count(broken) == 1
    assert [str(problem) for problem in verified.problems] == [f"{broken.name}: it is damaged"]
    assert verified.names == tuple(name for name in source.names if name not in slices)


def test_what_was_verified_has_the_digests_of_its_pixels(lesion_folders):
    source = find_samples(*lesion_folders)
    assert source.digests == ("",) * len(source)
    verified = source.verified()
    assert verified.digests == tuple(sample.digest for sample in source)
    assert verified.subset([2]).digests == verified.digests[2:3]
