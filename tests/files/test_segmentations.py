"""DICOM segmentations as labels: what is where, by what their frames say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from synthetic import oblique_volume

from activefreq.data.pairs import Pair
from activefreq.data.targets import read_targets
from activefreq.errors import InputError
from activefreq.files.dicom import dicom_series, write_dicom
from activefreq.files.grids import Geometry, Volume
from activefreq.files.label_resampling import resample_labels
from activefreq.files.volumes import read_geometry, read_label_volume, read_volume

SHAPE = (7, 5, 9)
GEOMETRY = Geometry(SHAPE, (0.5, 0.75, 3.0), (-4.0, 10.0, 25.0), (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0))


def item(**values: object) -> list[Dataset]:
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return [dataset]


def write_segmentation(
    path: Path, frames: list[tuple[int, int, np.ndarray]], geometry: Geometry, *, says_step: bool = True
) -> Dataset:
    """Frames (segment, k, mask (J, I)) in their order, with the geometry of the whole volume."""
    series = dicom_series(Volume(np.zeros(geometry.shape, np.int16), geometry), name="segmented")
    dataset = series.slices[0]
    for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(dataset, tag)
    del dataset.SpacingBetweenSlices
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.SegmentationStorage
    dataset.Modality, dataset.SegmentationType = "SEG", "BINARY"
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit, dataset.PixelRepresentation, dataset.NumberOfFrames = 0, 0, len(frames)
    matrix = np.reshape(geometry.direction, (3, 3))
    measures = item(PixelSpacing=[geometry.spacing[1], geometry.spacing[0]], SliceThickness=geometry.spacing[2])
    if says_step:
        measures[0].SpacingBetweenSlices = geometry.spacing[2]
    dataset.SharedFunctionalGroupsSequence = item(
        PixelMeasuresSequence=measures,
        PlaneOrientationSequence=item(ImageOrientationPatient=[*matrix[:, 0], *matrix[:, 1]]),
    )
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            SegmentIdentificationSequence=item(ReferencedSegmentNumber=segment),
            PlanePositionSequence=item(ImagePositionPatient=geometry.points(np.array([[0, 0, k]]))[0].tolist()),
        )[0]
        for segment, k, _ in frames
    ]
    bits = np.packbits(np.concatenate([mask.ravel() for *_, mask in frames]), bitorder="little").tobytes()
    dataset.PixelData = bits + b"\0" * (len(bits) % 2)
    dataset["PixelData"].VR = "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, write_like_original=False)
    return dataset


def masks(*labels: int) -> np.ndarray:
    """(K, J, I) uint16: blocks of the labels beside each other in slices 2 and 4 to 5, none in slice 3."""
    array = np.zeros(SHAPE, np.uint16)
    for place, label in enumerate(labels):
        array[2, 1:3, 2 * place : 2 * place + 2] = label
        array[4:6, 2:5, 2 * place] = label
    return array


def frames_of(array: np.ndarray) -> list[tuple[int, int, np.ndarray]]:
    """Those that are not empty, segment after segment, the last slice first."""
    return [
        (int(segment), k, array[k] == segment)
        for segment in np.unique(array[array > 0])
        for k in reversed(range(len(array)))
        if (array[k] == segment).any()
    ]


@pytest.mark.parametrize("labels", [(1,), (1, 2), (7, 3, 300)])
@pytest.mark.parametrize("says_step", [True, False])
def test_segments_lie_in_their_slices_and_gaps_stay_open(tmp_path, labels, says_step):
    array = masks(*labels)
    write_segmentation(tmp_path / "a.dcm", frames_of(array), GEOMETRY, says_step=says_step)
    result = read_label_volume(tmp_path / "a.dcm")
    assert result.array.dtype == (np.uint16 if max(labels) > 255 else np.uint8)
    np.testing.assert_array_equal(result.array, array[2:6])
    assert result.geometry.spacing == GEOMETRY.spacing
    np.testing.assert_allclose(result.geometry.origin, GEOMETRY.points(np.array([[0, 0, 2]]))[0])
    np.testing.assert_allclose(result.geometry.direction, GEOMETRY.direction, atol=1e-12)
    np.testing.assert_array_equal(resample_labels(result, GEOMETRY).array, array)


def test_a_segmentation_is_the_label_of_an_oblique_series(tmp_path):
    volume, labels = oblique_volume(0)
    labels[3] = 0
    write_dicom(dicom_series(volume, name="scan"), tmp_path / "scan")
    write_segmentation(tmp_path / "l" / "scan.dcm", frames_of(labels), volume.geometry)
    for label in (tmp_path / "l" / "scan.dcm", tmp_path / "l"):
        pair = Pair("scan", tmp_path / "scan", label)
        np.testing.assert_array_equal(read_targets(pair, None), labels > 0)
        np.testing.assert_array_equal(read_targets(pair, 2), labels == 2)


def test_one_frame_lies_where_it_says(tmp_path):
    array = masks(1)
    array[3:] = 0
    write_segmentation(tmp_path / "a.dcm", frames_of(array), GEOMETRY, says_step=False)
    np.testing.assert_array_equal(resample_labels(read_label_volume(tmp_path / "a.dcm"), GEOMETRY).array, array)


def test_only_every_second_slice_has_a_frame(tmp_path):
    array = np.zeros(SHAPE, np.uint8)
    array[[1, 3, 5], 1:4, 2:6] = 1
    write_segmentation(tmp_path / "a.dcm", frames_of(array), GEOMETRY, says_step=False)
    np.testing.assert_array_equal(resample_labels(read_label_volume(tmp_path / "a.dcm"), GEOMETRY).array, array)


def test_overlapping_segments_are_refused(tmp_path):
    first, second = masks(1)[2] == 1, masks(1)[2] == 1
    second[1, 0] = False
    write_segmentation(tmp_path / "a.dcm", [(1, 2, first), (2, 2, second)], GEOMETRY)
    with pytest.raises(InputError, match=r"a\.dcm: its segments 1 and 2 overlap"):
        read_label_volume(tmp_path / "a.dcm")
    write_segmentation(tmp_path / "a.dcm", [(1, 2, first), (1, 2, ~first)], GEOMETRY)
    with pytest.raises(InputError, match="several frames of segment 1 at the same place"):
        read_label_volume(tmp_path / "a.dcm")


def spoilt(path: Path, change) -> None:
    dataset = write_segmentation(path, frames_of(masks(1, 2)), GEOMETRY)
    change(dataset)
    dataset.save_as(path, write_like_original=False)


def move(dataset: Dataset, millimetres: float) -> None:
    position = dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    position.ImagePositionPatient = [
        c + d * millimetres for c, d in zip(position.ImagePositionPatient, (1, 0, 0), strict=True)
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: setattr(d, "SegmentationType", "FRACTIONAL"), "of type FRACTIONAL, but only BINARY"),
        (lambda d: delattr(d, "PerFrameFunctionalGroupsSequence"), "does not say where its frames lie"),
        (lambda d: delattr(d, "SharedFunctionalGroupsSequence"), "cannot be read .*PlaneOrientationSequence"),
        (lambda d: d.PerFrameFunctionalGroupsSequence.pop(), "has 6 frames, but says of 5"),
        (lambda d: setattr(d, "PixelData", d.PixelData[:20]), "cannot be read"),
        (lambda d: move(d, 1.5), "do not lie straight|not evenly spaced"),
    ],
)
def test_what_does_not_say_where_it_is_is_refused(tmp_path, change, reason):
    spoilt(tmp_path / "a.dcm", change)
    with pytest.raises(InputError, match=rf"a\.dcm: .*({reason})"):
        read_label_volume(tmp_path / "a.dcm")


def test_the_limit_counts_the_empty_slices(tmp_path):
    write_segmentation(tmp_path / "a.dcm", frames_of(masks(1)), GEOMETRY)
    with pytest.raises(InputError, match="its 180 voxels are more than the limit of 179"):
        read_label_volume(tmp_path / "a.dcm", max_voxels=179)


def test_a_segmentation_is_no_image(tmp_path):
    write_segmentation(tmp_path / "s" / "a.dcm", frames_of(masks(1)), GEOMETRY)
    for path in (tmp_path / "s" / "a.dcm", tmp_path / "s"):
        for read in (read_volume, read_geometry):
            with pytest.raises(InputError, match="is a DICOM segmentation, which is a label and no image"):
                read(path)
