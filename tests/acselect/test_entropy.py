import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from activefreq.acselect.entropy import binary_entropy, categorical_entropy, least_confidence
from activefreq.errors import InputError

PROBABILITIES = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2), elements=st.floats(0, 1, width=32))


def test_entropy_of_two_classes_by_hand():
    entropy = binary_entropy(np.array([[0.0, 1.0], [0.5, 0.25]]))
    quarter = 0.25 * math.log(4) + 0.75 * math.log(4 / 3)
    np.testing.assert_allclose(entropy, [[0.0, 0.0], [math.log(2), quarter]], rtol=1e-12)


def test_entropy_of_several_classes_by_hand():
    probabilities = np.array([[0.25, 1.0, 0.5], [0.25, 0.0, 0.25], [0.5, 0.0, 0.25]])
    np.testing.assert_allclose(
        categorical_entropy(probabilities), [1.5 * math.log(2), 0.0, 1.5 * math.log(2)], rtol=1e-12
    )
    np.testing.assert_allclose(categorical_entropy(probabilities.T, axis=1), categorical_entropy(probabilities))


@given(PROBABILITIES)
def test_two_classes_are_a_case_of_several(p):
    both = np.stack([1.0 - p.astype(np.float64), p])
    np.testing.assert_allclose(binary_entropy(p), categorical_entropy(both), atol=1e-12)


@given(PROBABILITIES)
def test_entropy_and_confidence_are_bounded_symmetric_and_order_pixels_alike(p):
    p = p.astype(np.float64)
    entropy, doubt = binary_entropy(p), least_confidence(p)
    assert entropy.min() >= 0
    assert entropy.max() <= math.log(2) + 1e-12
    assert doubt.max() <= 0.5
    np.testing.assert_allclose(entropy, binary_entropy(1.0 - p), atol=1e-9)
    order = np.argsort(doubt.ravel())
    assert (np.diff(entropy.ravel()[order]) >= -1e-9).all()


@pytest.mark.parametrize("bad", [-0.01, 1.01, math.nan])
def test_what_is_no_probability_is_refused(bad):
    p = np.array([[0.5, bad]])
    for function in (binary_entropy, categorical_entropy, least_confidence):
        with pytest.raises(InputError, match=r"\[0, 1\]"):
            function(p)
