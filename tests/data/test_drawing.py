from __future__ import annotations

from pathlib import Path

import pytest

from activefreq.data.drawing import draw_samples
from activefreq.data.pairs import Pair
from activefreq.data.parts import part_of
from activefreq.data.samples import SampleReference, SampleSource
from activefreq.errors import InputError

PAIR = Pair("a", Path("a.png"), Path("a.png"))
SOURCE = SampleSource(SampleReference(f"s{n:03d}", f"patient{n // 3}", PAIR, 0) for n in range(120))


def test_a_part_holds_all_samples_of_its_groups_and_no_other() -> None:
    parts = {part: draw_samples(SOURCE, part=part) for part in ("train", "validation", "test")}
    assert sorted(name for drawn in parts.values() for name in drawn.names) == list(SOURCE.names)
    for part, drawn in parts.items():
        assert {part_of(group) for group in drawn.groups} == {part}


def test_fewer_are_some_of_more_in_the_order_of_the_source() -> None:
    few, more = (draw_samples(SOURCE, limit=limit, seed=3).names for limit in (10, 40))
    assert (len(few), len(more)) == (10, 40)
    assert set(few) < set(more)
    assert list(more) == sorted(more)
    assert few == draw_samples(SOURCE, limit=10, seed=3).names != draw_samples(SOURCE, limit=10, seed=4).names
    assert draw_samples(SOURCE, limit=1000).names == SOURCE.names


def test_what_cannot_be_drawn_is_said() -> None:
    with pytest.raises(InputError, match="limit must be at least 1, not 0"):
        draw_samples(SOURCE, limit=0)
    for limit in (None, 2):
        with pytest.raises(InputError, match="the seed must be at least 0, not -1"):
            draw_samples(SOURCE, limit=limit, seed=-1)
    alone = SOURCE.subset([0])
    other = "test" if part_of("patient0") != "test" else "train"
    with pytest.raises(InputError, match=f"none of 1 images falls into the {other} part"):
        draw_samples(alone, part=other)
