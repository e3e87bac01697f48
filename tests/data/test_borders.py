import numpy as np
import pytest

from activefreq.data.borders import equivalent_radius, moved_border, shifted, wall


def disk(radius: float, centre: tuple[int, int] = (30, 30)) -> np.ndarray:
    y, x = np.mgrid[:60, :60]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def test_the_border_moves_by_about_what_it_is_told():
    y, x = np.mgrid[:60, :60]
    target = (y - 30) ** 2 + (x - 20) ** 2 <= 15**2
    radius = np.sqrt(target.sum() / np.pi)
    wrong = [(moved_border(target, 0.1, np.random.default_rng(seed)) ^ target).sum() for seed in range(40)]
    # A normal move of deviation s sweeps an area of length times its mean absolute value, s sqrt(2 / pi).
    expected = 2 * np.pi * radius * (0.1 * radius) * np.sqrt(2 / np.pi)
    assert np.mean(wrong) == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("value", [False, True])
def test_an_object_without_a_border_is_seen_as_it_is(value):
    target = np.full((9, 9), value)
    np.testing.assert_array_equal(moved_border(target, 0.5, np.random.default_rng(0)), target)


def test_an_object_never_vanishes():
    target = np.zeros((30, 30), bool)
    target[15, 15] = True
    for seed in range(50):
        assert moved_border(target, 5.0, np.random.default_rng(seed)).any()


@pytest.mark.parametrize("growth", [-0.4, -0.2, 0.2, 0.4])
def test_a_disk_grows_and_shrinks_by_the_share_of_its_radius(growth):
    moved = moved_border(disk(15), 0.0, np.random.default_rng(0), growth=growth)
    assert equivalent_radius(moved) == pytest.approx(15 * (1 + growth), abs=0.6)


def test_an_object_is_shifted_by_whole_pixels_and_cut_off_at_the_edge():
    np.testing.assert_array_equal(shifted(disk(8), (5, -7)), disk(8, (35, 23)))
    np.testing.assert_array_equal(shifted(disk(8), (28, 0)), disk(8, (58, 30)))


def test_an_object_that_would_leave_the_image_stays():
    for offset in ((35, 0), (0, -200)):
        np.testing.assert_array_equal(shifted(disk(8), offset), disk(8))


def test_a_wall_is_as_thick_as_it_is_told_and_touches_its_object():
    y, x = np.mgrid[:60, :60]
    distance = np.hypot(y - 30, x - 30)
    band = wall(disk(12), 4.0)
    assert not (band & disk(12)).any()
    assert band[(distance > 13) & (distance < 15.5)].all()
    assert not band[distance > 17.5].any()
    # A ring's wall is outside of it, not in its cavity.
    np.testing.assert_array_equal(wall(disk(12) & ~disk(8), 4.0), band)
    for value in (False, True):
        assert not wall(np.full((9, 9), value), 3.0).any()
