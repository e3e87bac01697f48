import pytest

from activefreq.data.names import names_of, read_names, typed_names
from activefreq.errors import InputError


def test_a_name_a_line(tmp_path):
    path = tmp_path / "part.names"
    path.write_text("\ufeffISIC_1\n\n  ISIC_2  # a twin of ISIC_9\n# nothing\nISIC_1\n", encoding="utf-8")
    assert read_names(path) == {"ISIC_1", "ISIC_2"}


def test_a_column_of_a_table(tmp_path):
    path = tmp_path / "exclude.csv"
    path.write_text('train_id,test_id,why\nISIC_1,ISIC_7,"same, twice"\nISIC_2,ISIC_8,\n')
    assert read_names(path) == {"ISIC_1", "ISIC_2"}
    assert read_names(path, column="test_id") == {"ISIC_7", "ISIC_8"}
    with pytest.raises(InputError, match=r"has no column 'id', only train_id, test_id, why"):
        read_names(path, column="id")


def test_lists_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match=r"none\.names: no such file"):
        read_names(tmp_path / "none.names")
    for name in ("empty.names", "empty.csv"):
        (tmp_path / name).write_text("")
        with pytest.raises(InputError, match=name):
            read_names(tmp_path / name)
    (tmp_path / "picture.txt").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(InputError, match="is no text file"):
        read_names(tmp_path / "picture.txt")
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(InputError, match=r"only a \.csv file has columns"):
        read_names(tmp_path / "a.txt", column="id")


def test_names_and_files_of_names_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "listed").write_text("b\nc\n")
    assert names_of(["a", "listed"]) == {"a", "b", "c"}
    assert typed_names(["a", "listed"]) == {"a"}
    assert names_of([]) == typed_names([]) == frozenset()
    for name in ("lost.txt", "lost.csv", "folder/lost"):
        with pytest.raises(InputError, match=r"lost.*: no such file"):
            names_of(["a", name])


@pytest.mark.parametrize("name", ["a.png", "b.JPG", "c.nii.gz", "d.dcm"])
def test_the_name_of_an_image_is_a_name_in_its_own_folder_too(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(b"\x89PNG\xff\xfe")
    assert names_of([name, "other"]) == {name, "other"}
    for path in (tmp_path / name, f"folder/{name}"):
        with pytest.raises(InputError, match="is no list of names; an image is named without its folder"):
            names_of([str(path)])


def test_a_hash_in_a_name_is_part_of_it(tmp_path):
    (tmp_path / "a.txt").write_text("vol_1#k=012\n# all of it\nvol_2 # and this\nvol_3\t#one more\n")
    assert read_names(tmp_path / "a.txt") == {"vol_1#k=012", "vol_2", "vol_3"}


def test_columns_may_be_divided_by_semicolons(tmp_path):
    (tmp_path / "a.csv").write_text("name;age\nISIC_1;60\nISIC_2;61,5\n")
    assert read_names(tmp_path / "a.csv") == {"ISIC_1", "ISIC_2"}
    assert read_names(tmp_path / "a.csv", column="age") == {"60", "61,5"}
