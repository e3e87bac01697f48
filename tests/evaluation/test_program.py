from pathlib import Path

import pytest

import activefreq
from activefreq.evaluation.program import ROOTS, modules_behind, program_digest, source_digest


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A root that imports a step, which imports a helper within a function, and a table that nothing imports."""
    folder = tmp_path / "pack"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "root.py").write_text('"""What is run."""\n\nimport os\nfrom pack.step import step\n')
    (folder / "step.py").write_text("def step(p):\n    from pack import helper\n\n    return helper.half(p)\n")
    (folder / "helper.py").write_text('def half(p):\n    """Half of it."""\n    return p / 2\n')
    (folder / "table.py").write_text("WIDTH = 3\n")
    return folder


def digest(package: Path) -> str:
    return source_digest(package.parent, ["pack.root"])


@pytest.mark.parametrize("name", ["root", "step", "helper"])
def test_code_that_a_result_depends_on_counts(package: Path, name: str) -> None:
    before = digest(package)
    path = package / f"{name}.py"
    path.write_text(path.read_text() + "CHANGED = 1\n")
    assert digest(package) != before


def test_comments_docstrings_layout_and_other_modules_do_not_count(package: Path) -> None:
    before = digest(package)
    (package / "helper.py").write_text('# new\ndef half(p):\n    """Said anew."""\n    return (p /\n      2)  # so\n')
    (package / "root.py").write_text("import os\nfrom pack.step import step\n")
    (package / "table.py").write_text("WIDTH = 4\n")
    (package / "notes.md").write_text("new\n")
    assert digest(package) == before


def test_a_cycle_of_imports_ends(package: Path) -> None:
    (package / "helper.py").write_text("import pack.root\n")
    assert len(digest(package)) == 16


def test_the_clicker_the_step_the_network_and_the_measures_count_and_nothing_that_comes_after() -> None:
    names = set(modules_behind(Path(activefreq.__file__).parents[1], ROOTS))
    assert {
        "activefreq.acselect.clicker",
        "activefreq.acselect.scores",
        "activefreq.clicks",
        "activefreq.data.groups",
        "activefreq.evaluation.metrics",
        "activefreq.evaluation.rollout",
        "activefreq.files.raster",
        "activefreq.models.freqformer",
        "activefreq.session.mirrors",
        "activefreq.session.step",
    } <= names
    assert not {name for name in names if name.startswith(("activefreq.training", "activefreq.simulation"))}
    assert not {"activefreq.evaluation.report", "activefreq.evaluation.runner", "torch"} & names


def test_the_program_has_one_digest() -> None:
    assert len(program_digest()) == 16
    assert program_digest() == source_digest(Path(activefreq.__file__).parents[1], ROOTS)
