from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from activefreq.errors import InputError
from activefreq.files.gaps import filled

VALUES = st.floats(-1e6, 1e6, width=32)


@given(arrays(np.float32, (5, 7), elements=VALUES), arrays(np.int8, (5, 7), elements=st.integers(0, 3)))
def test_finite_values_stay_and_the_others_lie_among_them(values: np.ndarray, kinds: np.ndarray) -> None:
    kinds[0, 0] = 0
    gaps = np.choose(kinds, [values, np.float32(np.nan), np.float32(np.inf), np.float32(-np.inf)])
    known = values[kinds == 0]
    result = filled(gaps)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result[kinds == 0], known)
    assert (result[kinds == 1] == np.percentile(known, 1.0).astype(np.float32)).all()
    assert (result[kinds == 2] == known.max()).all()
    assert (result[kinds == 3] == known.min()).all()


def test_an_outlier_does_not_darken_the_background() -> None:
    values = np.linspace(0.0, 1.0, 1000)
    values[0] = -1e6
    assert filled(np.append(values, np.nan))[-1] == pytest.approx(0.01, abs=0.001)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, bool, np.float64])
def test_what_has_all_its_values_is_not_copied(dtype: type) -> None:
    values = np.arange(6).astype(dtype)
    assert filled(values) is values


@pytest.mark.parametrize("nothing", [np.nan, np.inf])
def test_nothing_to_see(nothing: float) -> None:
    with pytest.raises(InputError, match="no values but NaN or infinite ones"):
        filled(np.full((2, 3), nothing))
