"""Two processes on this machine (gloo) against one: the same statistics, gradients, losses and weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel
from trainees import Picture, blob_pictures, quick_config

from activefreq.errors import InputError
from activefreq.models.interactive import InteractiveModel
from activefreq.training.batches import Mixture, make_batch
from activefreq.training.config import OptimizerConfig, StageConfig
from activefreq.training.distributed import GlobalBatchStatistics, any_of, join_launched, total, world_size
from activefreq.training.distributed import rank as own_rank
from activefreq.training.engine import Progress, TrainingRun
from activefreq.training.objective import Exercise, Passes, exercise_losses, make_exercise
from activefreq.training.start import initial_model

pytestmark = pytest.mark.slow

WORLD = 2


def normalize(rank: int, world: int) -> dict[str, torch.Tensor]:
    """Batch normalization of a process's part of five images, in torch's kind and in timm's, forward and backward."""
    torch.manual_seed(0)
    x = torch.randn(5, 3, 4, 4) * 2 + torch.tensor([100.0, 0.0, -3.0]).view(1, 3, 1, 1)
    cotangent = torch.randn(5, 3, 4, 4)
    found = {}
    for kind in (nn.BatchNorm2d, BatchNormAct2d):
        norm = kind(3)
        nn.init.uniform_(norm.weight)
        nn.init.uniform_(norm.bias)
        part = x[rank::world].clone().requires_grad_()
        with GlobalBatchStatistics():
            y = norm(part)
        (y * cotangent[rank::world]).sum().backward()
        name = kind.__name__
        found |= {f"{name}.y": y.detach(), f"{name}.dx": part.grad}
        found |= {f"{name}.{key}": value.clone() for key, value in norm.state_dict().items()}
        # What is summed over the processes is the gradient of the whole batch.
        found |= {f"{name}.dw": total(norm.weight.grad), f"{name}.db": total(norm.bias.grad)}
        norm.eval()
        with GlobalBatchStatistics():
            found[f"{name}.evaluated"] = norm(x)
    return found


def gradients(rank: int, world: int) -> dict[str, torch.Tensor]:
    """Of one step on five images, computed in float64: the encoder and the refine layer both normalize batches.

    In float32 the two sums differ in their last digits, which this untrained network magnifies to percents.
    """
    config = quick_config(batch_size=5, stages=(StageConfig(1, 64),))
    model = initial_model(config)
    batch = make_batch(Mixture([blob_pictures(5)]), config, 0)
    exercise = Exercise(*(part[rank::world] for part in make_exercise(model, batch, config, torch.device("cpu"))))
    passes: nn.Module = Passes(model.double().train())
    if world > 1:
        passes = DistributedDataParallel(passes, forward_sync_buffers=False)
    with GlobalBatchStatistics():
        logits = passes(Exercise(*(part.double() for part in exercise)))
    losses = exercise_losses(logits, exercise, config.losses)
    (losses.total * (len(exercise.images) * world / 5)).backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    return found | {name: value.clone() for name, value in model.named_buffers()}


def in_double(model: InteractiveModel) -> InteractiveModel:
    """The model in float64, taking float32, so that rounding stays rounding over several steps."""

    def cast(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return tuple(part.double() for part in inputs)

    for part in (model.backbone, model.refiner):
        part.register_forward_pre_hook(cast)
    return model.double()


def learn(rank: int, world: int, folder: Path | None, *, end: int = 99) -> dict[str, Any]:
    """A short training: five images a batch, so that the processes' parts differ in size."""
    blobs: list[Picture] = blob_pictures(7)
    config = quick_config(
        batch_size=5,
        stages=(StageConfig(2, 32), StageConfig(2, 64)),
        # Adam's steps do not shrink with the gradient: what rounding leaves of a zero one moves weights by the rate.
        optimizer=OptimizerConfig(learning_rate=1e-4, warmup=0, average=0.8),
        validate_every=4,
    )
    told: list[Progress] = []
    run = TrainingRun(
        in_double(initial_model(config)), config, Mixture([blobs[:5]]), blobs[5:], folder=folder, listener=told.append
    )
    resumed = run.resume()
    # Asked of one process only.
    run.stop = lambda: rank == world - 1 and run.step == end
    run.run()
    return {
        "told": told,
        "weights": run.model.state_dict(),
        "published": run.published.state_dict(),
        "resumed": resumed,
    }


def begin_otherwise(rank: int) -> dict[str, str]:
    """What trainings are refused with that have begun with other weights, steps or data in one of the processes."""
    config = quick_config()
    told = {}
    for what in ("state", "step", "number of training pairs"):
        run = TrainingRun(initial_model(config), config, Mixture([blob_pictures(5 + (rank if "pairs" in what else 0))]))
        if what == "state" and rank:
            with torch.no_grad():
                next(run.model.parameters()).add_(1e-6)
        if what == "step":
            run.step = rank
        with pytest.raises(InputError) as refusal:
            run.run()
        told[what] = str(refusal.value)
    return told


LOCAL = quick_config(
    batch_size=5,
    local_steps=2,
    stages=(StageConfig(5, 32),),
    optimizer=OptimizerConfig(learning_rate=1e-3, warmup=2, average=0.8),
    validate_every=0,
    save_every=4,
)


def learn_locally(folder: Path, *, end: int = 99) -> dict[str, Any]:
    """Five steps, the weights averaged after the second, the fourth and the last."""
    run = TrainingRun(in_double(initial_model(LOCAL)), LOCAL, Mixture([blob_pictures(5)]), folder=folder)
    resumed = run.resume()
    asked: list[int] = []

    def stop() -> bool:
        asked.append(run.step)
        return run.step >= end

    run.stop = stop
    run.run()
    return {"weights": run.model.state_dict(), "published": run.published.state_dict(), "from": resumed, "asked": asked}


def averaged_by_hand() -> dict[str, dict[str, torch.Tensor]]:
    """What `learn_locally` should come to: trainings on three views and on two of five, averaged in this process."""
    sizes = [3, 2]
    parts = [dataclasses.replace(LOCAL, batch_size=size, local_steps=1) for size in sizes]
    runs = [TrainingRun(in_double(initial_model(LOCAL)), part, Mixture([blob_pictures(5)])) for part in parts]
    for step in range(LOCAL.steps):
        for rank, run in enumerate(runs):
            run._update(make_batch(run.sources, LOCAL, step, rank=rank, world=WORLD))
        if step in (1, 3, 4):
            for tensors in zip(*(run._learnt() for run in runs), strict=True):
                if tensors[0].is_floating_point():
                    mean = sum(tensor * (size / 5) for tensor, size in zip(tensors, sizes, strict=True))
                    for tensor in tensors:
                        tensor.data.copy_(mean)
    return {"weights": runs[0].model.state_dict(), "published": runs[0].published.state_dict()}


def work(rank: int, folder: Path) -> None:
    """What each of the two processes does."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD)
    assert (own_rank(), world_size()) == (rank, WORLD)
    (folder / "states").mkdir(exist_ok=True)
    results = {
        "sum": total(torch.tensor([1.0, 10.0 * rank])),
        "any": [any_of(False, torch.device("cpu")), any_of(rank == 1, torch.device("cpu"))],
        "norm": normalize(rank, WORLD),
        "gradients": gradients(rank, WORLD),
        "straight": learn(rank, WORLD, None),
        "refused": begin_otherwise(rank),
    }
    learn(rank, WORLD, folder / "states", end=2)
    distributed.barrier()
    results["resumed"] = learn(rank, WORLD, folder / "states")
    for name in ("local", "again"):
        (folder / name).mkdir(exist_ok=True)
    results["local"] = learn_locally(folder / "local")
    results["ended"] = learn_locally(folder / "again", end=3)
    distributed.barrier()
    results["again"] = learn_locally(folder / "again")
    torch.save(results, folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("processes")
    multiprocessing.spawn(work, args=(folder,), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(WORLD)]


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return learn(0, 1, None)


def test_sums_and_flags_are_everyones(processes: list[dict[str, Any]]) -> None:
    for found in processes:
        assert found["sum"].tolist() == [2.0, 10.0]
        assert found["any"] == [False, True]


def test_normalization_sees_the_global_batch(processes: list[dict[str, Any]]) -> None:
    expected = normalize(0, 1)
    for rank, found in enumerate(result["norm"] for result in processes):
        for name, value in found.items():
            part = expected[name][rank::WORLD] if name.endswith((".y", ".dx")) else expected[name]
            torch.testing.assert_close(value, part, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


def test_gradients_are_those_of_the_global_batch(processes: list[dict[str, Any]]) -> None:
    expected = gradients(0, 1)
    scale = max(value.abs().max() for name, value in expected.items() if "running" not in name)
    for found in processes:
        assert found["gradients"].keys() == expected.keys()
        for name, value in found["gradients"].items():
            torch.testing.assert_close(
                value,
                expected[name],
                rtol=1e-6,
                atol=1e-6 * float(scale),
                msg=lambda text, name=name: f"{name}: {text}",
            )


def test_two_processes_have_the_loss_curve_of_one(processes: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    for found in processes:
        for one, two in zip(alone["told"], found["straight"]["told"], strict=True):
            for name in ("total", "coarse", "refined", "detail"):
                assert getattr(two.losses, name) == pytest.approx(getattr(one.losses, name), rel=1e-4), one.step
            assert (two.validation is None) == (one.validation is None)
            if one.validation is not None:
                assert two.validation.images == one.validation.images
                assert two.validation.miou == pytest.approx(one.validation.miou, abs=1e-3)
    assert [progress.validation is not None for progress in alone["told"]] == [False, False, False, True]


def test_processes_agree_to_the_bit(processes: list[dict[str, Any]]) -> None:
    first, second = (result["straight"] for result in processes)
    assert first["told"] == second["told"]
    for kind in ("weights", "published"):
        assert all(torch.equal(value, second[kind][name]) for name, value in first[kind].items())


def test_two_processes_resume_to_the_bit(processes: list[dict[str, Any]]) -> None:
    for found in processes:
        assert found["resumed"]["resumed"]
        assert found["resumed"]["told"] == found["straight"]["told"][2:]
        for name, value in found["straight"]["weights"].items():
            assert torch.equal(value, found["resumed"]["weights"][name]), name


def test_processes_that_do_not_begin_alike_are_refused_everywhere(processes: list[dict[str, Any]]) -> None:
    assert processes[0]["refused"] == processes[1]["refused"]
    for what, message in processes[0]["refused"].items():
        assert f"begin with another {what}:" in message


def test_local_steps_end_in_the_mean_of_trainings_on_parts(processes: list[dict[str, Any]]) -> None:
    expected = averaged_by_hand()
    for found in processes:
        for kind, weights in expected.items():
            for name, value in weights.items():
                torch.testing.assert_close(found["local"][kind][name], value, rtol=1e-6, atol=1e-8)


def test_local_steps_end_and_resume_only_where_all_agree(processes: list[dict[str, Any]]) -> None:
    for found in processes:
        assert found["local"]["asked"] == [2, 4, 5]
        # Asked to end after the third step, it ends after the fourth.
        assert found["ended"]["asked"] == [2, 4]
        assert found["again"]["from"]
        assert found["again"]["asked"] == [5]
        for kind in ("weights", "published"):
            for name, value in found["local"][kind].items():
                assert torch.equal(value, found["again"][kind][name]), name
                assert torch.equal(value, processes[0]["local"][kind][name]), name


def test_statistics_of_parts_alone_would_differ() -> None:
    """That the comparison above can fail: without the global statistics the parts' outputs are others."""
    expected = normalize(0, 1)
    part = normalize(0, WORLD)["BatchNorm2d.y"]
    with pytest.raises(AssertionError):
        torch.testing.assert_close(part, expected["BatchNorm2d.y"][0::WORLD], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "rank", "processes", "expected"),
    [
        ("cpu", 3, 4, ("cpu", "gloo")),
        ("cuda", 1, 2, ("cuda:1", "nccl")),
        ("cuda", 0, 1, ("cuda:0", "nccl")),
        # NCCL refuses two processes on one GPU.
        ("cuda", 3, 5, ("cuda:1", "gloo")),
    ],
)
def test_launched_processes_share_the_gpus_of_their_machine(
    monkeypatch: pytest.MonkeyPatch, kind: str, rank: int, processes: int, expected: tuple[str, str]
) -> None:
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    backends: list[str] = []
    monkeypatch.setattr(distributed, "init_process_group", backends.append)
    device = join_launched(torch.device(kind))
    assert (str(device), *backends) == expected
    assert current == ([device] if kind == "cuda" else [])
