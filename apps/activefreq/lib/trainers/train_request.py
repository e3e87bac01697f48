"""What a client may ask of a fine-tuning: MONAI Label's usual names, read with care."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monailabel.config import settings
from monailabel.utils.others.generic import device_list, name_to_device

from activefreq.errors import InputError
from activefreq.training.finetune import FinetuneConfig

NO_TRACKING, MLFLOW = "None", "mlflow"


@dataclass(frozen=True)
class TrainRequest:
    """A wish for a fine-tuning.

    Attributes:
        finetuning: How it is done.
        devices: As torch names them; more than one for a process on each.
        remark: What was asked for and cannot be; empty if it all can.
        tracking: `NO_TRACKING` or `MLFLOW`.
        tracking_uri: Where MLflow keeps its runs; empty for a file beside the fine-tuned checkpoints.
        tracking_experiment: What MLflow calls the experiment; empty for its default one.
    """

    finetuning: FinetuneConfig
    devices: tuple[str, ...]
    remark: str = ""
    tracking: str = NO_TRACKING
    tracking_uri: str = ""
    tracking_experiment: str = ""

    @staticmethod
    def offered() -> dict[str, Any]:
        """What the clients show for change; of a list, the first entry is the default."""
        defaults = FinetuneConfig()
        return {
            "max_epochs": defaults.epochs,
            "early_stop_patience": -1 if defaults.patience is None else defaults.patience,
            "val_split": defaults.validation_share,
            "train_batch_size": defaults.batch_size,
            "val_batch_size": defaults.validation_batch_size,
            "device": device_list(),
            "multi_gpu": False,
            "gpus": "all",
            "tracking": [NO_TRACKING, MLFLOW],
            "tracking_uri": settings.MONAI_LABEL_TRACKING_URI or "",
            "tracking_experiment_name": "",
        }

    @staticmethod
    def parse(request: Mapping[str, Any], *, device: str) -> TrainRequest:
        """Reads a request; whatever `offered` does not name is ignored.

        Args:
            request: As a client sent it: values may come as text, or as the list that was offered.
            device: Where to train when the request does not say.

        Raises:
            InputError: A value cannot be used; the message names it.
        """
        offered = TrainRequest.offered()
        values = {name: _first(request.get(name, default)) for name, default in offered.items()}
        patience = _integer("early_stop_patience", values["early_stop_patience"])
        chosen = _device(values["device"]) if "device" in request else device
        devices, remark = (chosen,), ""
        if _flag("multi_gpu", values["multi_gpu"]):
            devices, remark = several_devices(chosen, values["gpus"])
        batch_size = _integer("train_batch_size", values["train_batch_size"])
        if 1 <= batch_size < len(devices):
            remark = f"{len(devices)} GPUs were asked for, but a batch of {batch_size} is divided among {batch_size}"
            devices = devices[:batch_size]
        tracking = str(values["tracking"] or NO_TRACKING)
        if tracking not in (NO_TRACKING, MLFLOW):
            raise InputError(f"tracking must be {NO_TRACKING!r} or {MLFLOW!r}, not {tracking!r}")
        finetuning = FinetuneConfig(
            epochs=_integer("max_epochs", values["max_epochs"]),
            batch_size=batch_size,
            validation_batch_size=_integer("val_batch_size", values["val_batch_size"]),
            validation_share=_number("val_split", values["val_split"]),
            patience=patience if patience > 0 else None,
            precision=fastest_precision(devices[0]),
        )
        return TrainRequest(
            finetuning,
            devices,
            remark,
            tracking,
            str(values["tracking_uri"] or ""),
            str(values["tracking_experiment_name"] or ""),
        )


def _first(value: Any) -> Any:
    return next(iter(value), None) if isinstance(value, (list, tuple)) else value


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise InputError(f"{name} must be a number, not {value!r}")
    return number


def _integer(name: str, value: Any) -> int:
    number = _number(name, value)
    if not number.is_integer():
        raise InputError(f"{name} must be a whole number, not {value!r}")
    return int(number)


def _device(value: Any) -> str:
    """As torch names it. Raises `InputError` for what is none."""
    if not isinstance(value, str | None):
        raise InputError(f"device must be text, not {value!r}")
    chosen = str(name_to_device(value))
    try:
        kind = torch.device(chosen).type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda"):
        raise InputError(f"device must be one of {', '.join(device_list())}, or cuda:N, not {value!r}")
    return chosen


def _flag(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    raise InputError(f"{name} must be true or false, not {value!r}")


def several_devices(chosen: str, gpus: Any) -> tuple[tuple[str, ...], str]:
    """The GPUs to train on together, or the chosen device and why there are not several."""
    there = 0 if chosen == "cpu" else torch.cuda.device_count()
    wanted = list(range(there))
    if gpus and gpus != "all":
        wanted = [_integer("gpus", number) for number in str(gpus).split(",")]
        for number in wanted:
            if number not in range(there):
                raise InputError(f"gpus names the GPU {number}, but {there} can be used")
    devices = tuple(f"cuda:{number}" for number in dict.fromkeys(wanted))
    if len(devices) < 2:
        devices = devices or (chosen,)
        reason = f"{there} can be used" if there < 2 else "one is named"
        return devices, f"several GPUs were asked for, but {reason}: trained on {devices[0]} alone"
    return devices, ""


def fastest_precision(device: str) -> str:
    """The fastest precision that is safe on a device."""
    on_cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if not on_cuda:
        return "float32"
    # The question is about the current GPU. Older ones emulate bfloat16, and are slow at it.
    with torch.cuda.device("cuda" if device == "auto" else device):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
