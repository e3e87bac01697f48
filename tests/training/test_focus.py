from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from activefreq.clicks import Click
from activefreq.session.boxes import bounding_box
from activefreq.training.focus import training_focus

SQUARES = hnp.arrays(bool, st.integers(2, 16).map(lambda side: (side, side))).filter(np.any)


@given(SQUARES, st.data())
def test_a_focus_is_a_box_inside_the_view(target: np.ndarray, data: st.DataObject) -> None:
    side = len(target)
    click = Click(data.draw(st.integers(0, side - 1)), data.draw(st.integers(0, side - 1)))
    box = training_focus(target, click, np.random.default_rng(data.draw(st.integers(0, 1000))))
    assert 0 <= box.top < box.bottom <= side
    assert 0 <= box.left < box.right <= side


def test_half_look_at_the_object_and_the_others_at_the_click_or_the_boundary() -> None:
    target = np.zeros((128, 128), bool)
    target[40:80, 30:90] = True
    click = Click(100, 100, False)
    whole, clicked, boundary = 0, 0, 0
    for seed in range(1000):
        box = training_focus(target, click, np.random.default_rng(seed))
        inside = bounding_box(target)
        if box.top <= inside.top and box.left <= inside.left and box.bottom >= 80 and box.right >= 90:
            whole += 1
        elif box.contains(100, 100) and abs((box.top + box.bottom) / 2 - 100) <= 1:
            clicked += 1
            assert 0.3 * 60 <= box.height <= 0.8 * 60 + 1
        else:
            boundary += 1
            y, x = (box.top + box.bottom - 1) / 2, (box.left + box.right - 1) / 2
            assert target[int(y) - 1 : int(y) + 3, int(x) - 1 : int(x) + 3].any()
            assert not target[int(y) - 1 : int(y) + 3, int(x) - 1 : int(x) + 3].all()
    assert whole / 1000 == pytest.approx(0.5, abs=0.06)
    assert clicked / 1000 == pytest.approx(0.25, abs=0.06)
    assert boundary / 1000 == pytest.approx(0.25, abs=0.06)


def test_an_empty_target_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        training_focus(np.zeros((8, 8), bool), Click(0, 0), np.random.default_rng(0))
