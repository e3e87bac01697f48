from __future__ import annotations

import json

import pytest

from activefreq.errors import InputError
from lib.dicom_segments import Segment, for_dcmqi, named_segments, segments_of


def test_segments_are_called_as_the_client_says_in_the_order_of_the_values() -> None:
    label_info = {"label_info": [{"name": "Lesion A", "idx": 5}, {"name": "vessel", "idx": "3"}]}
    segments = segments_of([2, 3, 5], label_info)
    assert segments == [Segment(2, "label 2"), Segment(3, "vessel"), Segment(5, "Lesion A")]
    attributes = [entry["segmentAttribute"] for entry in for_dcmqi(segments)]
    assert [entry["labelID"] for entry in attributes] == [2, 3, 5]
    kinds = [entry["SegmentedPropertyTypeCodeSequence"]["CodeMeaning"] for entry in attributes]
    assert kinds == ["Tissue", "Tissue", "Lesion"]


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("L\u00e4sion links", "L\u00e4sion links"),
        ("a\\b\n c\x00", "a b c"),
        ("x" * 64, "x" * 64),
        ("x" * 65, "x" * 63 + "\u2026"),
        ("\ud800", ""),
    ],
)
def test_what_dicom_has_no_room_for_is_left_out_of_a_name(name: str, stored: str) -> None:
    assert Segment(1, name).stored_name == stored


def test_a_segment_whose_name_has_nothing_to_store_has_that_of_its_value() -> None:
    assert segments_of([7], {"label_info": [{"name": "\n\\", "idx": 7}]}) == [Segment(7, "label 7")]


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
