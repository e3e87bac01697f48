from __future__ import annotations

import json

import pytest

from activefreq.errors import InputError
from lib.dicom_segments import named_segments, segments_of


def test_segments_are_called_as_the_client_says_in_the_order_of_the_values() -> None:
    label_info = {"label_info": [{"name": "Lesion A", "idx": 5}, {"name": "vessel", "idx": "3"}]}
    segments = [segment["segmentAttribute"] for segment in segments_of([2, 3, 5], label_info)]
    assert [(segment["labelID"], segment["SegmentLabel"]) for segment in segments] == [
        (2, "label 2"),
        (3, "vessel"),
        (5, "Lesion A"),
    ]
    kinds = [segment["SegmentedPropertyTypeCodeSequence"]["CodeMeaning"] for segment in segments]
    assert kinds == ["Tissue", "Tissue", "Lesion"]


def test_names_without_a_value_are_those_of_1_2_and_so_on() -> None:
    assert {
        value: entry["name"] for value, entry in named_segments({"label_info": [{"name": "a"}, {"name": "b"}]}).items()
    } == {
        1: "a",
        2: "b",
    }


@pytest.mark.parametrize(
    "entries",
    [
        "5",
        '["lesion"]',
        '[{"idx": "second"}]',
        '[{"idx": null}]',
        '[{"idx": 1e999}]',
        '[{"idx": -1e999}]',
        '[{"idx": NaN}]',
    ],
)
def test_names_that_cannot_be_read_are_refused(entries: str) -> None:
    with pytest.raises(InputError, match="label_info must be a list of"):
        named_segments(json.loads(f'{{"label_info": {entries}}}'))
