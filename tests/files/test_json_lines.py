from __future__ import annotations

from pathlib import Path

from activefreq.files.json_lines import append_line, read_lines


def test_objects_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for number in range(3):
        append_line(path, {"number": number, "name": "ä"})
    assert list(read_lines(path)) == [{"number": number, "name": "ä"} for number in range(3)]


def test_what_a_crash_left_is_passed_over_and_spoils_nothing_after_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append_line(path, {"number": 0})
    append_line(path, {"number": 1, "name": "ä"})
    # In the middle of a letter of two bytes, which json escapes, and of a line.
    path.write_bytes(path.read_bytes()[:-4] + "ä".encode()[:1])
    append_line(path, {"number": 2})
    assert [values["number"] for values in read_lines(path)] == [0, 2]


def test_lines_that_are_no_objects_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('[1]\n3\n\n"a"\n{"number": 1}\nnull', encoding="utf-8")
    assert list(read_lines(path)) == [{"number": 1}]
