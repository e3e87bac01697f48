"""What scripts/serve.sh starts, with programs in the place of the environment and of Python that only tell."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def serve(tmp_path: Path) -> Path:
    """A checkout in which nothing is installed or started."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    shutil.copy(SCRIPTS / "serve.sh", scripts)
    (scripts / "environment.sh").write_text(f"export PATH={tmp_path}:$PATH\n")
    python = tmp_path / "python"
    python.write_text('#!/usr/bin/env bash\nprintf \'%s\\n\' "$@" >> "$TOLD"\necho ---- >> "$TOLD"\n')
    python.chmod(0o755)
    return scripts / "serve.sh"


def told(serve: Path, *arguments: str, **environment: str) -> list[list[str]]:
    """The arguments of each program that was started."""
    told = serve.parents[1] / "told.txt"
    variables = {name: value for name, value in os.environ.items() if name not in ("ACTIVEFREQ_HOST", "PORT")}
    result = subprocess.run(
        ["bash", serve, *arguments],
        env={**variables, "TOLD": str(told), **environment},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return [block.split("\n")[:-1] for block in told.read_text().split("----\n")[:-1]]


def test_it_serves_this_computer_only(serve: Path, tmp_path: Path) -> None:
    (started,) = told(serve, str(tmp_path))
    assert started[:3] == ["-m", "monailabel.main", "start_server"]
    assert started[-4:] == ["--host", "127.0.0.1", "--port", "8000"]


def test_sample_studies_are_made_where_none_are_given(serve: Path, tmp_path: Path) -> None:
    made, started = told(serve)
    samples = str(tmp_path / "out" / "sample_studies")
    assert made == [str(tmp_path / "scripts" / "sample_studies.py"), samples]
    assert started[started.index("--studies") + 1] == samples


def test_paths_with_spaces_host_port_and_more_are_passed_on(serve: Path, tmp_path: Path) -> None:
    studies = tmp_path / "my studies"
    studies.mkdir()
    (started,) = told(
        serve,
        str(studies),
        "--conf",
        "label",
        "a lesion",
        ACTIVEFREQ_HOST="10.0.0.1",
        HOST="x86_64-conda-linux-gnu",
        PORT="9000",
    )
    assert started[started.index("--studies") + 1] == str(studies)
    assert started[started.index("--app") + 1] == str(tmp_path / "apps" / "activefreq")
    assert started[-7:] == ["--host", "10.0.0.1", "--port", "9000", "--conf", "label", "a lesion"]


def test_a_folder_that_is_not_there_is_named(serve: Path) -> None:
    result = subprocess.run(["bash", serve, "/nowhere"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (2, "/nowhere is not a folder\n")


def test_the_demo_serves_this_computer_only() -> None:
    """It starts the server by serve.sh, and sets no other host; its Orthanc takes no remote requests."""
    demo = (SCRIPTS / "ohif_demo.sh").read_text()
    assert "scripts/serve.sh" in demo
    assert "HOST=" not in demo
    assert '"RemoteAccessAllowed": false' in (SCRIPTS / "orthanc.json").read_text()
