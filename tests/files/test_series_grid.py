from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activefreq.errors import InputError
from activefreq.files.dicom import dicom_series, write_dicom
from activefreq.files.grids import Geometry, Volume
from activefreq.files.series_grid import SlicePlace, check_slices
from activefreq.files.volumes import read_volume

UPRIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
FOLDER = Path("series")


def stack(count: int, orientation: tuple[float, ...] = UPRIGHT, step: float = 5.0) -> list[SlicePlace]:
    normal = np.cross(orientation[:3], orientation[3:])
    places = [tuple(np.array([3.0, -7.0, 11.0]) + number * step * normal) for number in range(count)]
    return [SlicePlace(place, orientation, (0.5, 0.5)) for place in places]


@given(st.floats(0.0, 3.1), st.floats(0.0, 3.1), st.integers(1, 40), st.floats(0.1, 20.0), st.sampled_from([1, -1]))
def test_slices_one_over_the_other_are_a_grid_however_they_are_turned(
    a: float, b: float, count: int, step: float, sign: int
) -> None:
    row = np.array([np.cos(a), np.sin(a), 0.0])
    column = np.array([-np.sin(a) * np.cos(b), np.cos(a) * np.cos(b), np.sin(b)])
    check_slices(FOLDER, stack(count, (*row, *column), step * sign))


def test_what_no_slice_says_is_not_asked_for() -> None:
    check_slices(FOLDER, [SlicePlace()] * 3)
    check_slices(FOLDER, [replace(one, orientation=None, spacing=None) for one in stack(3)])


def moved(places: list[SlicePlace], index: int, *by: float) -> list[SlicePlace]:
    position = tuple(np.add(places[index].position, by))
    return [*places[:index], replace(places[index], position=position), *places[index + 1 :]]


def tilted(places: list[SlicePlace], degrees: float) -> list[SlicePlace]:
    drift = np.tan(np.radians(degrees)) * 5.0
    return [replace(one, position=tuple(np.add(one.position, (0, k * drift, 0)))) for k, one in enumerate(places)]


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (tilted(stack(20), 5), "last slice lies 8.3 mm beside the first"),
        (tilted(stack(20), -20), "last slice lies 34.6 mm beside the first"),
        (stack(6, step=0.0), "5 of its 6 slices lie where another one lies"),
        (sorted(stack(3) * 2, key=lambda one: one.position), "3 of its 6 slices lie where another one lies"),
        (stack(3) * 2, "3 of its 6 slices lie where another one lies"),
        (moved(stack(5), 2, 0, 0, 2.0), "a slice is 2.00 mm away"),
        ([*stack(5)[:3], *stack(6)[4:]], "is one missing"),
        ([*stack(3), *stack(6, (0.94, 0.342, 0, -0.342, 0.94, 0))[3:]], "not parallel"),
        ([replace(one, spacing=(1.0, 0.5)) if k == 2 else one for k, one in enumerate(stack(4))], "not of one size"),
        (
            [replace(one, position=None) if k == 1 else one for k, one in enumerate(stack(4))],
            "1 of its 4 slices have no",
        ),
    ],
)
def test_other_slices_are_refused(places: list[SlicePlace], message: str) -> None:
    with pytest.raises(InputError, match=f"^series: .*{message}"):
        check_slices(FOLDER, places)


def test_rounded_positions_and_a_hair_of_tilt_are_a_grid() -> None:
    check_slices(FOLDER, moved(stack(5), 2, 0.1, 0, 0.3))
    check_slices(FOLDER, tilted(stack(20), 0.1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda k, one: setattr(one, "ImagePositionPatient", [0, 1.82 * k, 5.0 * k]), "mm beside the first"),
        (lambda _, one: setattr(one, "ImagePositionPatient", [0, 0, 0]), "5 of its 6 slices lie where"),
        (lambda k, one: setattr(one, "PixelSpacing", [1.0, 1.0] if k == 2 else [0.5, 0.5]), "not of one size"),
    ],
    ids=["tilted", "cine", "spacing"],
)
def test_files_are_looked_at(tmp_path: Path, change: Callable[[int, object], None], message: str) -> None:
    array = np.random.default_rng(0).integers(0, 500, (6, 16, 16)).astype(np.int16)
    series = dicom_series(Volume(array, Geometry(array.shape, (0.5, 0.5, 5.0))), name="scan")
    # Slices share what is the same in all of them.
    series = replace(series, slices=[copy.deepcopy(one) for one in series.slices])
    for k, one in enumerate(series.slices):
        change(k, one)
    write_dicom(series, tmp_path / "scan")
    with pytest.raises(InputError, match=message):
        read_volume(tmp_path / "scan")
