"""The training script: what it writes, what it refuses, and that it goes on exactly after it was killed."""

from __future__ import annotations

import csv
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import yaml
from filelock import FileLock
from synthetic import rgb_blob, write_picture
from torch.distributed.run import get_args_parser

from activefreq.files.volumes import read_volume
from activefreq.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from activefreq.models.config import SessionConfig
from activefreq.training.config import TrainingConfig, from_plain, load_preset
from activefreq.training.datasets import TrainingData, load_data
from activefreq.training.reports import MetricsFile
from activefreq.training.start import initial_model
from activefreq.training.state import load_state, state_files

if TYPE_CHECKING:
    from conftest import Folders

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "train.py"

RECIPE = """
model:
  backbone: {name: freqformer-lite, options: {width: 16, dims: [16, 16, 8, 8], base_size: 64}}
  refiner: {channels: 8}
  input_size: 64
  refine_size: 64
stages:
  - {steps: 3, size: 32}
  - {steps: 5, size: 64}
batch_size: 4
optimizer: {warmup: 2, average: 0.9}
validate_every: 4
validation_images: 2
validation_clicks: 2
save_every: 2
"""

KILLER = """
import os, resource, runpy, signal, sys
from activefreq.training import engine

what, number, sys.argv = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
calls = 0

def die_in_a_step(*arguments):
    global calls
    calls += 1
    if calls == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return losses(*arguments)

losses = engine.exercise_losses
if what == "step":
    engine.exercise_losses = die_in_a_step
else:
    # The kernel kills in the write of the first file that gets longer, when that many bytes of it are written.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def main() -> Callable[[list[str]], int]:
    """The script's own function, so that not every test has to load torch anew."""
    specification = importlib.util.spec_from_file_location("train", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return lambda arguments: module.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lesions")
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for number in range(1, 11):
        image, mask = rgb_blob(number)
        write_picture(folder / "images" / f"lesion_{number}.png", image)
        write_picture(folder / "labels" / f"lesion_{number}.png", mask)
    return folder


@pytest.fixture
def command(lesions: Path, recipe: Path) -> list[str]:
    return [
        *("--preset", str(recipe), "--images", str(lesions / "images"), "--labels", str(lesions / "labels")),
        *("--name", "lesions", "--validation", "0.3"),
    ]


def test_a_training_leaves_everything_that_it_should(
    main: Callable[[list[str]], int], command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "runs" / "first"
    assert main([*command, "--output", output, "--set", "batch_size=3", "seed=4"]) == 0
    assert {path.name for path in output.iterdir()} == {
        *("best.pt", "best.md", "last.pt", "last.md", "metrics.csv", "tensorboard", "problems.txt"),
        *("config.yaml", "run.yaml", "split.csv", "state-00000006.pt", "state-00000008.pt", ".lock"),
    }
    config = from_plain(TrainingConfig, yaml.safe_load((output / "config.yaml").read_text()))
    assert (config.batch_size, config.seed, config.steps) == (3, 4, 8)
    (run,) = yaml.safe_load((output / "run.yaml").read_text())
    assert (run["seed"], run["start"], run["processes"]) == (4, "random weights", 1)
    assert run["data"][0]["name"] == "lesions"
    rows = list(csv.DictReader((output / "split.csv").open()))
    assert {row["part"] for row in rows} >= {"train", "validation"}
    assert len(rows) == 10
    assert len(list(csv.DictReader((output / "metrics.csv").open()))) == 8
    assert list((output / "tensorboard").iterdir())
    info = load_checkpoint(output / "best.pt").info
    assert info["recipe"]["batch_size"] == 3
    assert str(tmp_path) not in repr(info)
    told = capsys.readouterr().err
    assert "8/8" in told
    assert "mIoU@2=" in told

    before = {path: path.read_bytes() for path in output.glob("*.pt")}
    assert main([*command, "--output", output]) == 2
    assert "--resume continues it" in capsys.readouterr().err
    assert main([*command, "--output", output, "--set", "batch_size=3", "--resume"]) == 2
    assert "begun with another seed" in capsys.readouterr().err
    for option, name in ((["--weight", "2"], "weight"), (["--label-value", "255"], "label_value")):
        assert main([*command, *option, "--output", output, "--set", "batch_size=3", "seed=4", "--resume"]) == 2
        assert re.search(f"has {name} None for data set 1, not .*2", capsys.readouterr().err)
    (output / ".writing-state").mkdir()
    with FileLock(output / ".lock"):
        assert main([*command, "--output", output, "--set", "batch_size=3", "seed=4", "--resume"]) == 2
    assert f"another process is training in {output}" in capsys.readouterr().err
    assert (output / ".writing-state").exists()
    other = ["--init", output / "best.pt", "--set", "batch_size=3", "seed=4", "--resume"]
    assert main([*command, "--output", output, *other]) == 2
    assert re.search(r"began with random weights, not checkpoint best\.pt", capsys.readouterr().err)
    assert main([*command, "--output", output, "--set", "batch_size=3", "seed=4", "--resume"]) == 0
    assert {path: path.read_bytes() for path in output.glob("*.pt")} == before
    assert not (output / ".writing-state").exists()


def test_a_signal_ends_it_with_its_state_saved(
    main: Callable[[list[str]], int],
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    class Interrupting(MetricsFile):
        def __call__(self, progress: object) -> None:
            super().__call__(progress)  # type: ignore[arg-type]
            if progress.step == 3:  # type: ignore[attr-defined]
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("activefreq.training.command.MetricsFile", Interrupting)
    assert main([*command, "--output", tmp_path / "run"]) == 130
    assert "stopped after step 3 of 8; --resume continues" in capsys.readouterr().err
    assert list(state_files(tmp_path / "run")) == [3, 2]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises, as in a terminal: shells let the programs that they run in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interruption_while_the_data_are_read_ends_it_at_once(
    main: Callable[[list[str]], int],
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*arguments: object, **options: object) -> TrainingData:
        os.kill(os.getpid(), signal.SIGINT)
        return load_data(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("activefreq.training.command.load_data", interrupted)
    assert main([*command, "--output", tmp_path / "run"]) == 130
    assert capsys.readouterr().err == "train: interrupted\n"


@pytest.mark.usefixtures("interruptible")
def test_a_second_interruption_ends_a_step_and_is_a_line(
    main: Callable[[list[str]], int],
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("activefreq.training.engine.exercise_losses", interrupted)
    assert main([*command, "--output", tmp_path / "run"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "train: interrupted"


@pytest.mark.parametrize("option", ["--init", "--encoder-weights"])
def test_weights_that_are_not_there_are_told_before_the_data_are_read(
    main: Callable[[list[str]], int],
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
) -> None:
    monkeypatch.setattr("activefreq.training.command.load_data", lambda *_, **__: pytest.fail("the data were read"))
    assert main([*command, option, "missing.pt", "--output", tmp_path / "run"]) == 2
    assert "missing.pt" in capsys.readouterr().err


def test_bad_pairs_are_named_and_a_changed_data_set_cannot_be_resumed(
    main: Callable[[list[str]], int],
    lesion_folders: Folders,
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = lesion_folders.images / "ISIC_0000002.jpg"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:600])
    arguments = [
        *("--images", lesion_folders.images, "--labels", lesion_folders.labels, "--preset", recipe),
        *("--set", "stages=[{steps: 1, size: 32}]", "validate_every=0", "--validation", "0", "--test", "0"),
        *("--output", tmp_path / "run"),
    ]
    assert main(arguments) == 0
    assert "left out ISIC_0000002" in caplog.text
    assert "ISIC_0000002" in (tmp_path / "run" / "problems.txt").read_text()
    assert not (tmp_path / "run" / "best.pt").exists()
    bad.write_bytes(whole)
    assert main([*arguments, "--resume"]) == 2
    assert "has changed: images/ISIC_0000002 is new" in capsys.readouterr().err
    bad.write_bytes(whole[:600])
    label = lesion_folders.labels / "ISIC_0000003_segmentation.png"
    write_picture(label, np.roll(read_volume(label).array[0] > 0, 3, axis=0))
    assert main([*arguments, "--resume"]) == 2
    assert "has changed: images/ISIC_0000003 has changed: its pixels are another" in capsys.readouterr().err


def test_a_training_whose_states_are_gone_is_not_begun_anew(
    main: Callable[[list[str]], int], command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    short = [*command, "--output", output, "--set", "stages=[{steps: 3, size: 32}]", "save_every=2"]
    assert main(short) == 0
    for state in state_files(output).values():
        state.unlink()
    before = (output / "last.pt").read_bytes()
    assert main([*short, "--resume"]) == 2
    assert "holds best.pt, but no state to go on from" in capsys.readouterr().err
    assert (output / "last.pt").read_bytes() == before
    # Killed between its first checkpoint and its first state: nothing is lost that was not, and it begins again.
    assert main([*short, "save_every=0", "--resume"]) == 0
    assert [*state_files(output)] == [3]


def test_a_name_that_is_not_unicode_is_a_problem_of_one_image(
    main: Callable[[list[str]], int], lesions: Path, recipe: Path, tmp_path: Path
) -> None:
    shutil.copytree(lesions, tmp_path / "data")
    for kind in ("images", "labels"):
        (tmp_path / "data" / kind / "lesion_1.png").rename(tmp_path / "data" / kind / os.fsdecode(b"l\xe4sion.png"))
    command = [
        *("--preset", recipe, "--images", tmp_path / "data" / "images", "--labels", tmp_path / "data" / "labels"),
        *("--validation", "0.3", "--output", tmp_path / "run", "--set", "stages=[{steps: 1, size: 32}]"),
    ]
    assert main(command) == 0
    assert "is not UTF-8" in (tmp_path / "run" / "problems.txt").read_text()
    assert len(list(csv.DictReader((tmp_path / "run" / "split.csv").open()))) == 9
    assert main([*command, "--resume"]) == 0


def test_processes_that_nobody_launched_are_told(
    main: Callable[[list[str]], int],
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([*command, "--output", tmp_path / "run"]) == 2
    assert "several processes are started by torchrun" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert main([*command, "--output", tmp_path / "run", "--set", "stages=[{steps: 1, size: 32}]"]) == 0


def test_a_checkpoint_that_it_begins_with_brings_its_session_along(
    main: Callable[[list[str]], int], command: list[str], recipe: Path, tmp_path: Path
) -> None:
    config = load_preset(str(recipe))
    session = SessionConfig(target_expansion=1.9, one_way_after=4)
    save_checkpoint(tmp_path / "base.pt", Checkpoint(initial_model(config), session))
    one_step = ("--set", "stages=[{steps: 1, size: 32}]", "validate_every=0")
    assert main([*command, *one_step, "--init", tmp_path / "base.pt", "--output", tmp_path / "run"]) == 0
    assert load_checkpoint(tmp_path / "run" / "last.pt").session == session


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "nowhere", "--labels", "nowhere"], "nowhere: no such file or folder"),
        (["--studies", "nowhere"], "nowhere"),
        (["--images", "{images}", "--labels", "{empty}"], "no image in .* has a label in"),
        (["--images", "{images}", "--labels", "{labels}", "--preset", "fast"], "no preset 'fast'"),
        (["--images", "{images}", "--labels", "{labels}", "--set", "speed=9"], "no setting 'speed'"),
        (["--images", "{images}", "--labels", "{labels}", "--set", "speed"], "KEY=VALUE, not 'speed'"),
        (["--images", "{images}", "--labels", "{labels}", "--slices", "few"], "'all' or whole numbers, not few"),
        (["--images", "{images}", "--labels", "{labels}", "--init", "nothing"], "no checkpoint at nothing"),
        (["--images", "{images}", "--labels", "{labels}", "--device", "cuda:99"], "device 'cuda:99' is not there"),
        (["--images", "{images}", "--labels", "{labels}", "--validation", "1"], "shares of validation"),
        (["--images", "{images}", "--labels", "{labels}", "--encoder-weights", "none.pth"], "none.pth"),
    ],
)
def test_what_cannot_be_used_is_a_line_and_exit_code_2(
    main: Callable[[list[str]], int],
    lesions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"images": lesions / "images", "labels": lesions / "labels", "empty": tmp_path / "empty"}
    filled = [argument.format(**places) for argument in arguments]
    assert main([*filled, "--output", tmp_path / "run"]) == 2
    last = [line for line in capsys.readouterr().err.splitlines() if line.startswith("train: ")]
    assert len(last) == 1
    assert re.search(message, last[0])
    assert not state_files(tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no data"),
        (["--labels", "masks"], "--labels must follow the --images or --studies"),
        (["--images", "a", "--weight", "1", "--weight", "2"], "--weight is given twice for a"),
        (["--images", "a", "--weight", "heavy"], "invalid float value: 'heavy'"),
    ],
)
def test_wrong_usage_is_told(
    main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--output", "run"])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def run(
    *arguments: object, launcher: tuple[str, ...] = (), environment: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *launcher, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "lib"), "OMP_NUM_THREADS": "1", **environment},
        check=False,
    )


def test_help_needs_no_torch() -> None:
    blocked = "import sys; sys.modules['torch'] = None; import runpy; sys.argv = ['train.py', '--help']; "
    result = run("-c", f"{blocked}runpy.run_path({str(SCRIPT)!r}, run_name='__main__')")
    assert result.returncode == 0
    assert "--resume" in result.stdout


@pytest.fixture(scope="module")
def straight(lesions: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted training."""
    output = tmp_path_factory.mktemp("straight") / "run"
    command = ("--images", lesions / "images", "--labels", lesions / "labels", "--validation", 0.3)
    result = run(SCRIPT, "--preset", recipe, *command, "--output", output)
    assert result.returncode == 0, result.stderr
    return output


@pytest.mark.slow
def test_killed_in_a_step_and_in_a_write_it_ends_bit_identical(
    straight: Path, lesions: Path, recipe: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    command = [
        *(SCRIPT, "--preset", recipe, "--images", lesions / "images", "--labels", lesions / "labels"),
        *("--validation", 0.3, "--output", output, "--resume"),
    ]
    # In the sixth step: the state after the fourth is there, and a line for the fifth that must go again.
    assert run("-c", KILLER, "step", 6, *command).returncode == -signal.SIGKILL
    assert list(state_files(output)) == [4, 2]
    assert len((output / "metrics.csv").read_text().splitlines()) == 1 + 5
    # While the state after the sixth step is written.
    half = state_files(output)[4].stat().st_size // 2
    assert run("-c", KILLER, "write", half, *command).returncode == -signal.SIGXFSZ
    assert list(state_files(output)) == [4, 2]
    (unfinished,) = output.glob(".writing-*/*")
    assert (unfinished.name, unfinished.stat().st_size) == ("state-00000006.pt", half)
    result = run(*command)
    assert result.returncode == 0, result.stderr

    for name in ("metrics.csv", "split.csv", "config.yaml"):
        assert (output / name).read_bytes() == (straight / name).read_bytes(), name
    for name in ("best.pt", "last.pt"):
        ours, theirs = (load_checkpoint(folder / name).model.state_dict() for folder in (output, straight))
        assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    ours, theirs = (flat(load_state(folder / "state-00000008.pt")) for folder in (output, straight))
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        same = torch.equal(value, theirs[key]) if isinstance(value, torch.Tensor) else value == theirs[key]
        assert same, key
    assert {path.name for path in output.iterdir()} == {path.name for path in straight.iterdir()}
    assert [entry["step"] for entry in yaml.safe_load((output / "run.yaml").read_text())] == [0, 4, 4]


def flat(value: object, name: str = "") -> dict[str, object]:
    """The leaves of nested dictionaries and lists."""
    if isinstance(value, dict):
        return {key: leaf for part, inner in value.items() for key, leaf in flat(inner, f"{name}.{part}").items()}
    if isinstance(value, (list, tuple)):
        return {key: leaf for place, inner in enumerate(value) for key, leaf in flat(inner, f"{name}.{place}").items()}
    return {name: value}


@pytest.mark.slow
def test_torchrun_starts_two_processes_of_one_training(
    straight: Path, lesions: Path, recipe: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    launcher = ("-m", "torch.distributed.run", "--nnodes", "1", "--nproc_per_node", "2", "--rdzv_backend", "c10d")
    launcher += ("--rdzv_endpoint", "127.0.0.1:0")
    command = ("--images", lesions / "images", "--labels", lesions / "labels", "--validation", 0.3)
    # A job of SLURM's has numbers of its own, which are not those of the processes that torchrun starts.
    slurm = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "5"}
    arguments = (SCRIPT, "--preset", recipe, *command, "--device", "cpu", "--output", output)
    result = run(*arguments, launcher=launcher, environment=slurm)
    assert result.returncode == 0, result.stderr
    (entry,) = yaml.safe_load((output / "run.yaml").read_text())
    assert entry["processes"] == 2
    ours, theirs = (list(csv.DictReader((folder / "metrics.csv").open())) for folder in (output, straight))
    assert len(ours) == len(theirs) == 8
    # Later steps are compared in float64 where rounding cannot grow: see tests/training/test_distributed.py.
    for name in ("total", "coarse", "refined", "detail"):
        assert float(ours[0][name]) == pytest.approx(float(theirs[0][name]), rel=1e-4)
    assert {path.name for path in output.iterdir()} == {path.name for path in straight.iterdir()}


@pytest.mark.slow
def test_each_process_of_a_training_says_what_is_wrong_with_it(lesions: Path, tmp_path: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "--rdzv_endpoint", "127.0.0.1:0")
    launcher += ("--rdzv_backend", "c10d")
    command = ("--images", lesions / "images", "--labels", lesions / "nowhere", "--output", tmp_path / "run")
    result = run(SCRIPT, *command, "--device", "cpu", launcher=launcher)
    assert result.returncode != 0
    lines = result.stderr.splitlines()
    said = [line for line in lines if line.startswith("train")]
    assert said
    assert all("nowhere" in line for line in said)
    assert {line.partition(":")[0] for line in said} <= {"train", "train, process 1"}


def documented_commands() -> list[str]:
    text = (ROOT / "docs" / "training.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if "scripts/train.py" in line]


def test_documented_launchers_and_options_are_known() -> None:
    launched = [shlex.split(line) for line in documented_commands() if line.startswith("torchrun")]
    assert len(launched) == 2
    for words in launched:
        filled = [{"RANK": "0", "FIRST": "127.0.0.1"}.get(word, word) for word in words[1:]]
        parsed = get_args_parser().parse_args(filled)
        assert parsed.training_script == "scripts/train.py"


@pytest.mark.slow
@pytest.mark.parametrize("line", documented_commands())
def test_documented_commands_run(
    main: Callable[[list[str]], int],
    recipe: Path,
    lesions: Path,
    studies_folder: Path,
    tmp_path: Path,
    line: str,
) -> None:
    """As they stand, but for the folders and a recipe that takes seconds; the launcher is tested above."""
    words = shlex.split(line)
    arguments = words[words.index("scripts/train.py") + 1 :]
    places = {
        "DIR/images": lesions / "images",
        "DIR/labels": lesions / "labels",
        "STUDIES": studies_folder,
    }
    arguments = [str(places.get(word.replace("OTHER", "DIR"), word)) for word in arguments]
    output = arguments.index("--output") + 1
    arguments[output] = str(tmp_path / "run")
    if "--init" in arguments:
        assert (
            main(
                [
                    *("--preset", recipe, "--images", lesions / "images", "--labels", lesions / "labels"),
                    *("--set", "stages=[{steps: 1, size: 32}]", "--validation", "0.3", "--output", tmp_path / "base"),
                ]
            )
            == 0
        )
        arguments[arguments.index("--init") + 1] = str(tmp_path / "base" / "best.pt")
    # The last of a repeated option counts.
    quick = ("--preset", recipe, "--encoder-weights", "none", "--validation", "0.4", "--device", "cpu")
    small = ("--set", "stages=[{steps: 1, size: 32}]", "batch_size=2", "precision=float32")
    assert main([*arguments, *quick, *small]) == 0
    assert (tmp_path / "run" / "best.pt").exists()
