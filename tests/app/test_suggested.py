from __future__ import annotations

import json

import numpy as np

from activefreq.clicks import Click
from activefreq.session.state import SessionState
from lib.suggested import suggest_beginning, suggest_slice


def test_suggestions_are_in_the_clients_coordinates() -> None:
    probability = np.zeros((20, 30), np.float32)
    probability[5:15, 5:15] = 1.0
    probability[6:9, 20:22] = 0.4
    probability[12:14, 6:8] = 0.7
    found = suggest_slice(SessionState((Click(10, 10),), probability, progressive=False), k=4)
    add, remove = found.described()
    assert (add["rank"], add["positive"], add["pixels"], add["box"]) == (1, True, 6, [20, 6, 22, 9])
    assert (remove["rank"], remove["positive"], remove["pixels"], remove["box"]) == (2, False, 4, [6, 12, 8, 14])
    i, j, k = add["click"]
    assert k == 4
    assert probability[j, i] == np.float32(0.4)
    labels = found.label_map()
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels == 1, probability == np.float32(0.4))
    np.testing.assert_array_equal(labels == 2, probability == np.float32(0.7))
    json.dumps(found.described())


def test_without_clicks_the_object_is_where_to_begin() -> None:
    probability = np.full((20, 30), 0.2, np.float32)
    probability[5:14, 5:14] = 0.9
    found = suggest_beginning(probability, k=0)
    (only,) = found.described()
    assert (only["click"], only["positive"]) == ([9, 9, 0], True)
    np.testing.assert_array_equal(found.label_map() == 1, probability > 0.5)
