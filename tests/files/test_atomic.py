import json
import stat

import pytest

from activefreq.files.atomic import atomic_write, write_json


def test_replaces_the_target_and_leaves_nothing_else(tmp_path):
    target = tmp_path / "mask.nii.gz"
    target.write_text("old")
    with atomic_write(target) as temporary:
        assert temporary.name == "mask.nii.gz"
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_an_error_in_the_block_keeps_the_old_file(tmp_path):
    target = tmp_path / "model.pt"
    target.write_text("old")

    def write_half():
        with atomic_write(target) as temporary:
            temporary.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_nothing_shows_up_at_the_top_of_a_watched_folder_while_writing(tmp_path):
    with atomic_write(tmp_path / "a.nii.gz") as temporary:
        temporary.write_text("x")
        assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
        assert [path for path in tmp_path.iterdir() if path.is_file()] == []


def test_companion_files_are_moved_too(tmp_path):
    with atomic_write(tmp_path / "a.mhd") as temporary:
        temporary.write_text("header")
        temporary.with_suffix(".raw").write_text("voxels")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mhd", "a.raw"]


def test_files_get_the_permissions_that_any_new_file_gets(tmp_path):
    (tmp_path / "plain").write_text("x")
    with atomic_write(tmp_path / "atomic") as temporary:
        temporary.write_text("x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "atomic")}
    assert len(modes) == 1


def test_a_missing_folder_or_an_unwritten_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "missing" / "a"):
        pass
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_json_of_what_it_knows_and_what_it_is_told(tmp_path):
    target = tmp_path / "made" / "summary.json"
    write_json(target, {"noc@85": 1.5, "where": tmp_path}, default=str)
    assert json.loads(target.read_text()) == {"noc@85": 1.5, "where": str(tmp_path)}
    with pytest.raises(TypeError):
        write_json(target, {"where": tmp_path})
    assert json.loads(target.read_text())["noc@85"] == 1.5
    assert list(target.parent.iterdir()) == [target]
