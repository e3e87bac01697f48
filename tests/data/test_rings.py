import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from activefreq.data.rings import RingConfig, inside_of_outline, ring_clicks, smooth_ring
from activefreq.errors import InputError

SHAPE = (96, 110)


def disk(radius: float, centre: tuple[float, float] = (47.0, 52.0)) -> np.ndarray:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.hypot(y - centre[0], x - centre[1]) <= radius


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@given(st.floats(6, 20), st.floats(3.5, 10), st.floats(40, 55), st.floats(40, 70))
def test_a_clean_ring_stays_as_it_is(radius: float, thickness: float, y: float, x: float) -> None:
    inner, outer = disk(radius, (y, x)), disk(radius + thickness, (y, x))
    ring = smooth_ring(outer & ~inner, inner)
    assert ring is not None
    assert ring.agreeing == 1.0
    assert ring.thickness == pytest.approx(thickness, abs=1.0)
    assert overlap(ring.mask, outer & ~inner) > 0.8
    assert not (ring.mask & inner).any()


def test_gaps_are_closed_and_leaks_cut_off() -> None:
    inner, outer = disk(14), disk(20)
    answer = outer & ~inner
    answer[:47, 50:54] = False  # a gap, upwards
    answer[46:48, 60:] = True  # a leak, to the right
    answer[5:10, 5:10] = True  # a piece elsewhere
    ring = smooth_ring(answer, inner)
    assert ring is not None
    assert overlap(ring.mask, outer & ~inner) > 0.85
    assert ring.mask[47 - 17, 52]
    assert not ring.mask[47, 52 + 24 :].any()
    assert not ring.mask[5:10, 5:10].any()


@pytest.mark.parametrize(
    "answer",
    [np.zeros(SHAPE, bool), np.ones(SHAPE, bool), disk(40), disk(20) & (np.mgrid[: SHAPE[0], : SHAPE[1]][0] < 47)],
    ids=["nothing", "everything", "too thick", "half a ring"],
)
def test_what_is_no_ring_gives_none(answer: np.ndarray) -> None:
    assert smooth_ring(answer & ~disk(14), disk(14)) is None


def test_a_median_thickness_that_is_not_believed_gives_none() -> None:
    inner = disk(14)
    assert smooth_ring(disk(20) & ~inner, inner, RingConfig(median=(7.0, 11.0))) is None


@given(st.floats(3, 25), st.floats(30, 65), st.floats(30, 80))
def test_the_clicks_ask_for_what_lies_around(radius: float, y: float, x: float) -> None:
    inner = disk(radius, (y, x))
    clicks = ring_clicks(inner)
    assert clicks is not None
    first, inside, *others = clicks
    assert not inside.positive
    assert inner[inside.y, inside.x]
    far = ndimage.distance_transform_edt(~inner)
    quarters = set()
    for click in (first, *others):
        assert click.positive
        assert far[click.y, click.x] == pytest.approx(3.0, abs=0.8)
        quarters.add((click.y > y, click.x > x))
    assert len(quarters) == 4


def test_around_an_object_that_fills_the_image_there_is_nothing_to_ask_for() -> None:
    assert ring_clicks(np.ones((20, 20), bool)) is None


def test_an_outline_is_taken_off_by_less_than_a_pixel() -> None:
    radii = [np.sqrt(inside_of_outline(disk(15), outline).sum() / np.pi) for outline in (0.0, 0.37, 0.8)]
    whole = np.sqrt(disk(15).sum() / np.pi)
    assert radii[0] == pytest.approx(whole, abs=0.1)
    assert radii[1] == pytest.approx(whole - 0.37, abs=0.15)
    assert radii[2] < radii[1] - 0.2


@pytest.mark.parametrize("values", [{"rays": 4}, {"thickness": (3.0, 2.0)}, {"median": (0.0, 2.0)}])
def test_wrong_options_are_named(values: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(values))):
        RingConfig(**values)  # type: ignore[arg-type]
