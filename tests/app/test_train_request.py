from __future__ import annotations

import json

import pytest
import torch

from activefreq.errors import InputError
from activefreq.training.finetune import FinetuneConfig
from lib.trainers import train_request
from lib.trainers.train_request import TrainRequest, fastest_precision, several_devices


@pytest.fixture
def gpu_count(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    """Pretends that there are so many GPUs, and that nothing may be asked of them but how many they are, and names."""
    count: int = request.param
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "Big GPU")
    monkeypatch.setattr(train_request, "fastest_precision", lambda device: "float32")
    return count


def test_what_is_offered_is_what_happens_without_a_word() -> None:
    offered = TrainRequest.offered("cpu")
    json.dumps(offered, allow_nan=False)
    asked = TrainRequest.parse(offered, device="cpu")
    assert asked == TrainRequest.parse({}, device="cpu")
    assert (asked.devices, asked.remark, asked.tracking) == (("cpu",), "", "None")
    assert asked.finetuning == FinetuneConfig()


@pytest.mark.parametrize(
    ("gpu_count", "setting", "offered", "device"),
    [
        (0, "auto", ["cpu"], "cpu"),
        (0, "cpu", ["cpu"], "cpu"),
        (1, "auto", ["Big GPU", "cpu"], "cuda"),
        (1, "cuda:0", ["Big GPU", "cpu"], "cuda"),
        (1, "cpu", ["cpu", "Big GPU"], "cpu"),
        (2, "auto", ["Big GPU:0", "Big GPU:1", "cpu"], "cuda:0"),
        (2, "cuda:1", ["Big GPU:1", "Big GPU:0", "cpu"], "cuda:1"),
        (2, "cpu", ["cpu", "Big GPU:0", "Big GPU:1"], "cpu"),
    ],
    indirect=["gpu_count"],
)
def test_the_device_of_the_server_is_offered_first_and_so_what_slicer_sends_back(
    gpu_count: int, setting: str, offered: list[str], device: str
) -> None:
    assert TrainRequest.offered(setting)["device"] == offered
    for sent in (offered, offered[0]):
        asked = TrainRequest.parse({"device": sent}, device=setting)
        assert (asked.devices, asked.remark) == ((device,), "")
    for silence in ({}, {"device": None}, {"device": ""}):
        (silent,) = TrainRequest.parse(silence, device=setting).devices
        # "cuda" is the first GPU too.
        assert silent in (device, device.removesuffix(":0"), f"{device}:0")
    for other in offered:
        assert TrainRequest.parse({"device": other}, device=setting).remark == ""


@pytest.mark.parametrize("gpu_count", [0], indirect=True)
def test_a_cpu_in_place_of_a_gpu_is_told(gpu_count: int) -> None:
    asked = TrainRequest.parse({"device": "cuda:5"}, device="cpu")
    assert asked.devices == ("cpu",)
    assert asked.remark == "the device cuda:5 was asked for, but no GPU can be used: trained on cpu"
    both = TrainRequest.parse({"device": "cuda", "multi_gpu": True}, device="cpu")
    assert both.remark == (
        "the device cuda was asked for, but no GPU can be used: trained on cpu; "
        "several GPUs were asked for, but 0 can be used: trained on cpu alone"
    )


@pytest.mark.parametrize("gpu_count", [1], indirect=True)
def test_a_gpu_that_is_not_beside_the_others_is_refused(gpu_count: int) -> None:
    with pytest.raises(InputError, match="device 'cuda:5' is not there: 1 CUDA devices are"):
        TrainRequest.parse({"device": "cuda:5"}, device="cpu")


def test_everything_that_is_offered_is_honoured() -> None:
    request = TrainRequest.parse(
        {
            "max_epochs": 7,
            "early_stop_patience": 3,
            "val_split": 0.35,
            "train_batch_size": 2,
            "val_batch_size": 5,
            "device": "cpu",
            "tracking": "mlflow",
            "tracking_uri": "sqlite:///runs.db",
            "tracking_experiment_name": "skin",
            "client_id": "slicer",
            "dataset": "CacheDataset",
            "model": "activefreq",
            "local_rank": 0,
        },
        device="auto",
    )
    tuning = request.finetuning
    assert (tuning.epochs, tuning.patience, tuning.validation_share) == (7, 3, 0.35)
    assert (tuning.batch_size, tuning.validation_batch_size, tuning.precision) == (2, 5, "float32")
    assert (request.devices, request.tracking) == (("cpu",), "mlflow")
    assert (request.tracking_uri, request.tracking_experiment) == ("sqlite:///runs.db", "skin")


def test_values_may_come_as_text_or_as_lists() -> None:
    request = TrainRequest.parse(
        {"max_epochs": "12", "val_split": "0.5", "device": ["cpu"], "tracking": ["None", "mlflow"]}, device="auto"
    )
    assert (request.finetuning.epochs, request.finetuning.validation_share) == (12, 0.5)
    assert (request.devices, request.tracking) == (("cpu",), "None")


@pytest.mark.parametrize(
    ("gpus", "devices"),
    [("all", ("cuda:0", "cuda:1", "cuda:2")), ("0,2", ("cuda:0", "cuda:2")), (None, ("cuda:0", "cuda:1", "cuda:2"))],
)
def test_the_gpus_that_were_asked_for_are_used(
    monkeypatch: pytest.MonkeyPatch, gpus: str | None, devices: tuple[str, ...]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert several_devices("auto", gpus) == (devices, "")
    with pytest.raises(InputError, match="gpus names the GPU 3, but 3 can be used"):
        several_devices("auto", "0,3")


@pytest.mark.parametrize(
    ("there", "gpus", "device", "reason"),
    [
        (0, "all", "auto", "0 can be used"),
        (1, "all", "cuda:0", "1 can be used"),
        (3, "1", "cuda:1", "one is named"),
        (3, "2,2", "cuda:2", "one is named"),
    ],
)
def test_too_few_gpus_for_several_are_told(
    monkeypatch: pytest.MonkeyPatch, there: int, gpus: str, device: str, reason: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    devices, remark = several_devices("auto", gpus)
    assert devices == (device,)
    assert remark == f"several GPUs were asked for, but {reason}: trained on {device} alone"


@pytest.mark.parametrize(("native", "precision"), [(True, "bfloat16"), (False, "float16")])
def test_a_gpu_that_only_emulates_bfloat16_trains_in_float16(
    monkeypatch: pytest.MonkeyPatch, native: bool, precision: str
) -> None:
    asked = []

    class Current:
        def __init__(self, device: torch.device) -> None:
            asked.append(str(device))

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(torch.cuda, "device", Current)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    assert fastest_precision("cuda:1") == precision
    assert fastest_precision("cpu") == "float32"
    assert asked == ["cuda:1"]


@pytest.mark.parametrize("flag", [True, "true", "True"])
def test_several_gpus_are_only_looked_for_when_asked_for(flag: object) -> None:
    asked = TrainRequest.parse({"multi_gpu": flag}, device="cpu")
    assert (asked.devices, asked.remark != "") == (("cpu",), True)
    assert TrainRequest.parse({"multi_gpu": False, "gpus": "7"}, device="cpu").remark == ""


@pytest.mark.parametrize("gpu_count", [8], indirect=True)
def test_there_are_no_more_processes_than_images_in_a_batch(gpu_count: int) -> None:
    asked = TrainRequest.parse({"multi_gpu": True, "train_batch_size": 3}, device="auto")
    assert asked.devices == ("cuda:0", "cuda:1", "cuda:2")
    assert asked.remark == "8 GPUs were asked for, but a batch of 3 is divided among 3"
    with pytest.raises(InputError, match=r"^train_batch_size must be at least 1, not 0$"):
        TrainRequest.parse({"multi_gpu": True, "train_batch_size": 0}, device="auto")


@pytest.mark.parametrize("patience", [0, -1, "-1"])
def test_no_patience_means_no_early_stop(patience: object) -> None:
    assert TrainRequest.parse({"early_stop_patience": patience}, device="cpu").finetuning.patience is None


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"max_epochs": "many"}, "max_epochs must be a number, not 'many'"),
        ({"max_epochs": 1.5}, r"max_epochs must be a whole number, not 1\.5"),
        ({"max_epochs": True}, "max_epochs must be a number, not True"),
        ({"max_epochs": 0}, "^max_epochs must be at least 1, not 0"),
        ({"max_epochs": None}, "max_epochs must be a number, not None"),
        ({"max_epochs": []}, "max_epochs must be a number, not None"),
        ({"val_split": float("nan")}, "val_split must be a number, not nan"),
        ({"val_split": 1}, "^val_split must be at least 0 and below 1, not 1"),
        ({"val_split": -0.25}, r"^val_split must be at least 0 and below 1, not -0\.25"),
        ({"train_batch_size": 0}, "^train_batch_size must be at least 1, not 0"),
        ({"val_batch_size": -3}, "^val_batch_size must be at least 1, not -3"),
        ({"multi_gpu": "perhaps"}, "multi_gpu must be true or false, not 'perhaps'"),
        ({"max_epochs": 10**400}, "max_epochs must be a number"),
        ({"device": {"cpu": 1}}, "device must be text, not {'cpu': 1}"),
        ({"device": "banana"}, "device must be one of .*, not 'banana'"),
        ({"device": "meta"}, "device must be one of .*, not 'meta'"),
        ({"tracking": "tensorboard"}, "tracking must be 'None' or 'mlflow', not 'tensorboard'"),
    ],
)
def test_values_that_cannot_be_used_are_named(request_: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainRequest.parse(request_, device="cpu")
