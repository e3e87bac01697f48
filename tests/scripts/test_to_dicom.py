import csv
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from activefreq.files.grids import Geometry
from activefreq.files.volume_writing import write_mask
from activefreq.files.volumes import read_volume

SCRIPT = Path(__file__).parents[2] / "scripts" / "to_dicom.py"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def to_dicom(monkeypatch, capsys) -> Run:
    """Runs the script in this process; returns its exit code, standard output and standard error."""
    spec = importlib.util.spec_from_file_location("to_dicom", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["to_dicom.py", *map(str, arguments)])
        try:
            code = script.main()
        except SystemExit as exit_:
            code = exit_.code
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(np.full((6, 8, 3), (200, 120, 90), np.uint8)).save(folder / "skin.png")
    steps = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    write_mask(folder / "scan.nii.gz", steps, like=Geometry((2, 3, 4), (1.0, 2.0, 3.0)))
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_a_folder_becomes_studies_that_are_listed(to_dicom, images, tmp_path):
    code, listed, problems = to_dicom("--images", images, "--output", tmp_path / "studies")
    assert code == 0, problems
    rows = {row["name"]: row for row in csv.DictReader(listed.splitlines())}
    assert {name: row["slices"] for name, row in rows.items()} == {"scan": "2", "skin": "3"}
    for name, row in rows.items():
        folder = tmp_path / "studies" / name
        series = read_volume(folder, series=row["series"])
        source = read_volume(images / {"scan": "scan.nii.gz", "skin": "skin.png"}[name])
        np.testing.assert_array_equal(series.array, np.broadcast_to(source.array, series.array.shape))
    assert to_dicom("--images", images, "--output", tmp_path / "again")[1] == listed


def test_one_file_is_enough(to_dicom, images, tmp_path):
    _, listed, _ = to_dicom("--images", images / "skin.png", "--output", tmp_path / "studies")
    assert listed.splitlines()[1].startswith("skin,")
    assert len(list((tmp_path / "studies" / "skin").iterdir())) == 3


@pytest.mark.parametrize("case", ["missing", "empty", "ambiguous", "damaged", "refused", "no address"])
def test_what_cannot_be_converted_is_named_in_one_line(to_dicom, case, images, tmp_path):
    arguments = ["--images", images, "--output", tmp_path / "studies"]
    if case == "missing":
        arguments[1] = tmp_path / "nowhere"
        expected = "nowhere: no such file or folder"
    elif case == "empty":
        arguments[1] = tmp_path / "empty"
        arguments[1].mkdir()
        expected = "there is no image in this folder"
    elif case == "ambiguous":
        Image.new("L", (4, 4)).save(images / "skin.jpg")
        expected = "skin.jpg and skin.png would both be called skin"
    elif case == "damaged":
        (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
        expected = "broken.png"
    elif case == "no address":
        arguments[2:] = ["--dicomweb", "nonsense"]
        expected = "'nonsense' is no address of a DICOMweb server"
    else:
        arguments[2:] = ["--dicomweb", "http://127.0.0.1:9/dicom-web"]
        expected = "http://127.0.0.1:9/dicom-web does not take the studies"
    code, _, problem = to_dicom(*arguments)
    assert code == 2
    assert expected in problem
    assert len(problem.splitlines()) == 1


def test_a_bad_image_does_not_keep_the_others_back(to_dicom, images, tmp_path):
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    code, listed, problem = to_dicom("--images", images, "--output", tmp_path / "studies")
    assert code == 2
    assert problem.startswith(f"to_dicom: {images / 'broken.png'}")
    assert [row["name"] for row in csv.DictReader(listed.splitlines())] == ["scan", "skin"]
    assert sorted(path.name for path in (tmp_path / "studies").iterdir()) == ["scan", "skin"]


def test_something_to_do_is_asked_for(to_dicom, images):
    code, _, problem = to_dicom("--images", images)
    assert code == 2
    assert "--output, --dicomweb" in problem
