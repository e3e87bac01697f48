import torch
from hypothesis import given
from hypothesis import strategies as st

from activefreq.session.resampling import resample


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_a_constant_stays_what_it_is_at_any_size(height, width, rows, columns):
    resampled = resample(torch.full((1, 2, height, width), 0.3), (rows, columns))
    assert resampled.shape == (1, 2, rows, columns)
    torch.testing.assert_close(resampled, torch.full((1, 2, rows, columns), 0.3))


def test_maps_of_the_shape_asked_for_are_left_alone():
    maps = torch.rand(2, 3, 5, 7)
    assert resample(maps, (5, 7)) is maps


def test_shrinking_reads_every_pixel():
    maps = torch.zeros(1, 1, 64, 64)
    maps[0, 0, 5, 9] = 1.0
    assert resample(maps, (8, 8)).sum() > 0
    # A side that grows does not keep the other from being averaged.
    assert (resample(maps, (8, 128)).sum((2, 3)) > 0).all()


def test_pixel_centres_stay_where_they_are():
    ramp = (torch.arange(16.0) + 0.5).expand(1, 1, 16, 16)
    doubled = resample(ramp, (16, 32))[0, 0, 0]
    torch.testing.assert_close(doubled[1:-1], (torch.arange(32.0) + 0.5)[1:-1] / 2)
