import numpy as np

from activefreq.overlap import intersection_over_union


def test_iou_by_hand():
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert intersection_over_union(a, b) == 1.0
    a[:2], b[1:3] = True, True
    assert intersection_over_union(a, b) == 4 / 12
    assert intersection_over_union(a, np.zeros_like(a)) == 0.0
