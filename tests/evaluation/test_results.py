from dataclasses import asdict, replace

from activefreq.evaluation.results import ClickRecord, ImageResult, Journal, click_table
from activefreq.files.json_lines import append_line

CLICK = ClickRecord(3, 4, True, 0.5, None, 0.6, 0.3, 0.1, 12.0, 15.0, seconds=0.02)
RESULT = ImageResult("key", "a", "patient", None, None, (CLICK, replace(CLICK, positive=False, iou=0.8, nsd=0.9)))


def test_a_journal_gives_back_what_it_was_given(tmp_path):
    others = [replace(RESULT, name="b", start_iou=0.25), replace(RESULT, key="other", clicks=())]
    first, second = Journal(tmp_path / "journal"), Journal(tmp_path / "journal", writer=1)
    first.append(RESULT)
    second.append(others[0])
    first.append(others[1])
    found = Journal(tmp_path / "journal").read()
    assert found == {(one.key, one.name, one.digest): one for one in [RESULT, *others]}


def test_a_line_that_a_crash_cut_off_is_passed_over(tmp_path):
    journal = Journal(tmp_path)
    journal.append(RESULT)
    journal.append(replace(RESULT, name="b"))
    path = tmp_path / "000.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert {name for _, name, _ in journal.read()} == {"a"}
    journal.append(replace(RESULT, name="c"))
    assert {name for _, name, _ in journal.read()} == {"a", "c"}


def test_an_empty_folder_is_an_empty_journal(tmp_path):
    assert Journal(tmp_path / "new").read() == {}


def test_a_row_for_every_click_and_for_a_scored_start(tmp_path):
    table = click_table([("standard", "ideal", RESULT), ("area", "human", replace(RESULT, start_iou=0.4))])
    assert table["click"].tolist() == [1, 2, 0, 1, 2]
    assert table["sign"].tolist()[:2] == ["+", "-"]
    assert table["iou"].tolist() == [0.5, 0.8, 0.4, 0.5, 0.8]
    assert table["dice"].round(6).tolist()[:2] == [0.666667, 0.888889]
    assert table["y"].isna().tolist() == [False, False, True, False, False]
    path = tmp_path / "clicks.csv"
    table.to_csv(path, index=False)
    assert path.read_text().splitlines()[1].startswith("standard,ideal,a,patient,1,3,4,+,0.5,0.66")


def test_lines_of_another_version_are_passed_over(tmp_path):
    journal = Journal(tmp_path)
    append_line(tmp_path / "000.jsonl", {**asdict(RESULT), "name": "later", "further": 1})
    append_line(tmp_path / "000.jsonl", {"key": "key", "name": "earlier"})
    click = {**asdict(CLICK), "further": 1}
    append_line(tmp_path / "000.jsonl", {**asdict(RESULT), "name": "later too", "clicks": [click]})
    journal.append(RESULT)
    assert [name for _, name, _ in journal.read()] == ["a"]
