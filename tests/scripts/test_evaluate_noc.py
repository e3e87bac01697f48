import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from tiny import make_tiny_model

from activefreq.models.checkpoint import Checkpoint, checkpoint_hash, save_checkpoint

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "evaluate_noc.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("evaluate_noc", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["evaluate_noc"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["evaluate_noc"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    save_checkpoint(path, Checkpoint(make_tiny_model(0)))
    return path


@pytest.fixture
def evaluate(script, weights, tmp_path):
    """Runs the script in this process, one worker, at most three clicks; returns the summary."""

    def run(*arguments, output="out"):
        options = ["--weights", weights, "--output", tmp_path / output, "--max-clicks", 3, "--workers", 1]
        code = script.main([str(argument) for argument in (*options, *arguments)])
        path = tmp_path / output / "summary.json"
        return code, json.loads(path.read_text()) if path.exists() else None

    return run


def test_from_folders_to_table_csv_curve_and_panels(evaluate, lesion_folders, weights, tmp_path, capsys):
    code, summary = evaluate(
        "--images", lesion_folders.images, "--labels", lesion_folders.labels,
        "--policy", "standard", "acselect", "acselect:size=none,label=paper", "--acselect", "gamma=0", "size=sqrt",
        "--user", "ideal", "human", "--human", "slip=0", "--panels", 2, "--all-clicks",
    )  # fmt: skip
    assert code == 0
    assert list(summary["policies"]) == [
        *("standard", "acselect", "paper"),
        *("standard (human)", "acselect (human)", "paper (human)"),
    ]
    acselect = summary["policies"]["acselect"]
    assert acselect["images"] == 6
    assert acselect["checkpoint_sha256"] == checkpoint_hash(weights)
    expected = {"policy": "acselect", "user": "ideal", "gamma": 0, "size": "sqrt", "max_clicks": 3, "start": "empty"}
    assert expected.items() <= acselect["settings"].items()
    assert summary["policies"]["paper"]["settings"]["size"] == "none"
    assert {"noc@80", "noc@85", "noc@90", "failures@90", "miou@1", "miou@3", "spc_ms", "auc"} <= set(acselect)
    assert summary["settings"]["human"]["slip"] == 0
    table = pd.read_csv(tmp_path / "out" / "clicks.csv")
    assert len(table) == 6 * 6 * 3
    weighted = table["mpe"] + table["ape"]
    for policy, expected in {
        "acselect": weighted * table["area"] ** 0.5,
        "standard": weighted * table["area"] ** 0.5,
        "paper": weighted,
    }.items():
        rows = (table["policy"] == policy) & table["score"].notna()
        assert rows.sum() > 6
        assert table["score"][rows].tolist() == pytest.approx(expected[rows].tolist())
    assert (tmp_path / "out" / "noc.md").read_text().strip() in capsys.readouterr().out
    assert len(list((tmp_path / "out" / "panels").glob("*.png"))) == 2
    assert (tmp_path / "out" / "curve.png").stat().st_size > 1000


def test_slices_of_volumes_and_label_values(evaluate, volume_folders):
    where = ("--images", volume_folders.images, "--labels", volume_folders.labels, "--policy", "standard")
    code, summary = evaluate(*where, "--slices", 2, 3, "--label-value", 1)
    assert code == 0
    assert summary["policies"]["standard"]["images"] + len(summary["skipped"]) == 6
    _, whole = evaluate(*where, "--slices", "all", output="all")
    assert whole["policies"]["standard"]["images"] > summary["policies"]["standard"]["images"]


def test_a_studies_folder(evaluate, studies_folder):
    code, summary = evaluate("--images", studies_folder, "--policy", "standard")
    assert code == 0
    assert summary["policies"]["standard"]["images"] == 3


def test_a_limit_draws_the_same_images_again(evaluate, lesion_folders, tmp_path):
    where = ("--images", lesion_folders.images, "--labels", lesion_folders.labels, "--policy", "standard")
    drawn = []
    for output, seed in (("a", 1), ("b", 1), ("c", 2)):
        evaluate(*where, "--limit", 3, "--seed", seed, output=output)
        drawn.append(pd.read_csv(tmp_path / output / "clicks.csv")["image"].unique().tolist())
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == len(drawn[2]) == 3


def test_named_and_listed_files_are_left_out(evaluate, lesion_folders, tmp_path, capsys):
    where = ("--images", lesion_folders.images, "--labels", lesion_folders.labels, "--policy", "standard")
    _, everything = evaluate(*where, output="all")
    names = sorted(pd.read_csv(tmp_path / "all" / "clicks.csv")["image"].unique())
    (tmp_path / "wrong.txt").write_text(f"{names[0]}\n")
    code, summary = evaluate(*where, "--exclude", tmp_path / "wrong.txt", names[2])
    assert code == 0
    kept = pd.read_csv(tmp_path / "out" / "clicks.csv")["image"].unique()
    assert sorted(kept) == [names[1], *names[3:]]
    assert summary["policies"]["standard"]["images"] == everything["policies"]["standard"]["images"] - 2
    assert evaluate(*where, "--exclude", "lost.txt", output="none")[0] == 2
    assert "lost.txt: no such file" in capsys.readouterr().err


def test_mirror_images_are_another_evaluation(evaluate, lesion_folders):
    where = ("--images", lesion_folders.images, "--labels", lesion_folders.labels, "--policy", "standard")
    _, plain = evaluate(*where)
    code, mirrored = evaluate(*where, "--mirrors", 4)
    assert code == 0
    settings = [summary["settings"]["session"]["mirrors"] for summary in (plain, mirrored)]
    assert settings == [1, 4]
    # The same folder: nothing of the first evaluation was taken for the second.
    assert mirrored["policies"]["standard"]["miou@1"] != plain["policies"]["standard"]["miou@1"]


def test_a_part_divides_patients_as_training_does(evaluate, ring_folders, script, capsys):
    where = ("--images", ring_folders.images, "--labels", ring_folders.labels, "--policy", "standard")
    parts = {}
    for part in ("train", "validation", "test"):
        code, summary = evaluate(*where, "--group", "sunnybrook", "--part", part, output=part)
        parts[part] = summary["policies"]["standard"]["images"] if code == 0 else 0
    assert sum(parts.values()) == 6
    assert all(count % 2 == 0 for count in parts.values())


def test_images_are_resized_before_they_are_clicked_on(evaluate, lesion_folders, tmp_path, capsys):
    where = ("--images", lesion_folders.images, "--labels", lesion_folders.labels, "--policy", "standard")
    code, summary = evaluate(*where, "--resize", 40)
    assert code == 0
    assert summary["settings"]["resize"] == 40
    clicks = pd.read_csv(tmp_path / "out" / "clicks.csv")
    assert clicks[["y", "x"]].to_numpy().max() < 40
    # The same folder again without it: other results, not the ones that are there.
    _, plain = evaluate(*where)
    assert plain["policies"]["standard"]["miou@1"] != summary["policies"]["standard"]["miou@1"]
    code, _ = evaluate(
        *where[:-2], "--resize", 40, "--server", "http://127.0.0.1:9", "--policy", "standard", output="s"
    )
    assert code == 2
    assert "resize" in capsys.readouterr().err


def test_an_automatic_start_is_scored(evaluate, lesion_folders, tmp_path):
    where = ("--images", lesion_folders.images, "--labels", lesion_folders.labels)
    code, summary = evaluate(*where, "--policy", "standard", "area", "--start", "auto")
    assert code == 0
    assert 0 <= summary["policies"]["standard"]["miou@0"] <= 1
    table = pd.read_csv(tmp_path / "out" / "clicks.csv")
    starts = table[table["click"] == 0].pivot(index="image", columns="policy", values="iou")
    assert (starts["standard"] == starts["area"]).all()


def test_a_bad_file_is_named_skipped_and_counted(evaluate, lesion_folders, capsys):
    (lesion_folders.images / "ISIC_0000002.jpg").write_bytes(b"\xff\xd8\xff" + b"0" * 50)
    code, summary = evaluate(
        "--images", lesion_folders.images, "--labels", lesion_folders.labels, "--policy", "standard"
    )
    assert code == 0
    assert summary["policies"]["standard"]["images"] == 5
    assert [Path(problem["image"]).stem for problem in summary["skipped"]] == ["ISIC_0000002"]
    assert "ISIC_0000002" in capsys.readouterr().err


@pytest.mark.slow
def _alive(group: int) -> list[str]:
    """Command lines of the processes of a group that do something still."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError):
            state, _, of = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(of) == group and state not in "ZX":
                found.append((folder / "cmdline").read_text().replace("\0", " "))
    return found


def test_a_killed_evaluation_leaves_no_worker_behind(lesion_folders, weights, tmp_path):
    command = [
        sys.executable, SCRIPT, "--images", lesion_folders.images, "--labels", lesion_folders.labels,
        "--weights", weights, "--policy", "standard", "--max-clicks", 2000, "--all-clicks", "--workers", 2,
        "--output", tmp_path / "out",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1] / "lib")}
    running = subprocess.Popen([*map(str, command)], start_new_session=True, env=environment, stderr=subprocess.DEVNULL)
    try:
        # The script, the process that workers are forked from, what looks after shared memory, and two workers.
        _wait_until(lambda: len(_alive(running.pid)) >= 5, "workers")
        time.sleep(0.5)
        assert running.poll() is None
        running.kill()
        running.wait(20)
        _wait_until(lambda: not _alive(running.pid), "an end")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)


def _wait_until(holds, what, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"no {what} after {seconds} s"
        time.sleep(0.1)


def test_workers_and_batches_change_no_figure(evaluate, lesion_folders, tmp_path):
    where = ("--images", lesion_folders.images, "--labels", lesion_folders.labels)
    policies = ("--policy", "standard", "random", "acselect", "oracle")
    summaries = []
    for output, options in (("a", ("--batch-size", 1)), ("b", ("--batch-size", 8)), ("c", ("--workers", 2))):
        _, summary = evaluate(*where, *policies, *options, output=output)
        for policy in summary["policies"].values():
            assert policy.pop("spc_ms") > 0
        summaries.append(summary)
    assert summaries[0] == summaries[1] == summaries[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "nowhere.pt"], "no checkpoint at nowhere.pt"),
        (["--policy", "best"], "policy must be one of"),
        (["--acselect", "size"], "KEY=VALUE"),
        (["--policy", "standard", "--acselect", "mood=bad"], "policy acselect has no option 'mood'"),
        (["--human", "jitter=abc"], "human jitter must be a number of at least 0, not 'abc'"),
        (["--human", "jitter=1", "mood=bad"], "the human has the options jitter, smaller, slip, border, not mood"),
        (["--iou", "85"], "thresholds lie above 0 and up to 1"),
        (["--slices", "two"], "slices are 'all' or indices"),
        (["--limit", "0"], "limit must be at least 1"),
        (["--size", "100"], "size must be a multiple of 32"),
        (["--device", "abacus"], "device"),
        (["--backbone", "vgg"], "holds the backbone freqformer, not vgg"),
        (["--images", "nowhere"], "nowhere"),
        (["--max-clicks", "0"], "at least 1, not 0"),
        (["--server", "http://127.0.0.1:9"], "--weights is the server's affair"),
    ],
)
def test_wrong_options_end_with_one_line(evaluate, lesion_folders, capsys, arguments, message):
    code, summary = evaluate("--images", lesion_folders.images, "--labels", lesion_folders.labels, *arguments)
    assert code == 2
    assert summary is None
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("evaluate_noc: ")
    assert message in error


def test_a_server_answers_no_probabilities(script, lesion_folders, tmp_path, capsys):
    where = ["--images", str(lesion_folders.images), "--labels", str(lesion_folders.labels), "--output", str(tmp_path)]
    assert script.main([*where, "--server", "http://127.0.0.1:9", "--policy", "standard", "acselect"]) == 2
    assert "acselect needs probabilities, and a server answers masks" in capsys.readouterr().err
    assert script.main([*where, "--server", "http://127.0.0.1:9", "--policy", "standard"]) == 2
    assert "cannot reach http://127.0.0.1:9" in capsys.readouterr().err
