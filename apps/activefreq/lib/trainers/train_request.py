"""What a client may ask of a fine-tuning: MONAI Label's usual names, read with care."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monailabel.config import settings
from monailabel.utils.others.generic import device_map

from activefreq.errors import InputError
from activefreq.session.segmenter import resolve_device
from activefreq.training.finetune import FinetuneConfig
from activefreq.training.precision import AUTO, resolve_precision

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
    def offered(device: str) -> dict[str, Any]:
        """What the clients show for change; of a list, the first entry is the default, and what 3D Slicer sends back.

        Args:
            device: Where to train when a request does not say: auto, cpu, cuda or cuda:N.
        """
        defaults = FinetuneConfig()
        return {
            "max_epochs": defaults.epochs,
            "early_stop_patience": -1 if defaults.patience is None else defaults.patience,
            "val_split": defaults.validation_share,
            "train_batch_size": defaults.batch_size,
            "val_batch_size": defaults.validation_batch_size,
            "device": offered_devices(device),
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
            device: As of `offered`.

        Raises:
            InputError: A value cannot be used; the message names it.
        """
        values = {name: _first(request.get(name, default)) for name, default in TrainRequest.offered(device).items()}
        patience = _integer("early_stop_patience", values["early_stop_patience"])
        chosen, remark = chosen_device(values["device"], default=device)
        devices, remarks = (chosen,), [remark]
        if _flag("multi_gpu", values["multi_gpu"]):
            devices, remark = several_devices(chosen, values["gpus"])
            remarks.append(remark)
        batch_size = _count("train_batch_size", values["train_batch_size"])
        if batch_size < len(devices):
            remarks.append(
                f"{len(devices)} GPUs were asked for, but a batch of {batch_size} is divided among {batch_size}"
            )
            devices = devices[:batch_size]
        share = _number("val_split", values["val_split"])
        if not 0 <= share < 1:
            raise InputError(f"val_split must be at least 0 and below 1, not {share:g}")
        tracking = str(values["tracking"] or NO_TRACKING)
        if tracking not in (NO_TRACKING, MLFLOW):
            raise InputError(f"tracking must be {NO_TRACKING!r} or {MLFLOW!r}, not {tracking!r}")
        finetuning = FinetuneConfig(
            epochs=_count("max_epochs", values["max_epochs"]),
            batch_size=batch_size,
            validation_batch_size=_count("val_batch_size", values["val_batch_size"]),
            validation_share=share,
            patience=patience if patience > 0 else None,
            precision=fastest_precision(devices[0]),
        )
        return TrainRequest(
            finetuning,
            devices,
            "; ".join(filter(None, remarks)),
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


def _count(name: str, value: Any) -> int:
    number = _integer(name, value)
    if number < 1:
        raise InputError(f"{name} must be at least 1, not {number}")
    return number


def _devices_by_name() -> dict[str, str]:
    """What torch calls the devices that MONAI Label gives names to, and the CPU, which is always there."""
    return {**device_map(), "cpu": "cpu"}


def offered_devices(device: str) -> list[str]:
    """Names of all devices; first the one that a setting such as "auto" or "cuda:1" means."""
    names = _devices_by_name()
    meant = _place(resolve_device(device))
    first = next((name for name, place in names.items() if _place(torch.device(place)) == meant), device)
    return list(dict.fromkeys((first, *names)))


def _place(device: torch.device) -> tuple[str, int]:
    """The same for "cuda" and "cuda:0"."""
    return device.type, device.index or 0


def chosen_device(value: Any, *, default: str) -> tuple[str, str]:
    """The device to train on, as torch names it, and a remark if it is not the one that was asked for.

    Args:
        value: A name that was offered, or what a setting may be; None or "" for the default.
        default: A setting: auto, cpu, cuda or cuda:N.

    Raises:
        InputError: It is none, or a GPU that is not there beside others that are.
    """
    if not isinstance(value, str | None):
        raise InputError(f"device must be text, not {value!r}")
    names = _devices_by_name()
    named = names.get(value or default, value or default)
    if named == "auto":
        return str(resolve_device(named)), ""
    try:
        kind = torch.device(named).type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda"):
        raise InputError(f"device must be one of {', '.join(names)}, or cuda:N, not {value!r}")
    if kind == "cpu":
        return "cpu", ""
    if not torch.cuda.is_available():
        return "cpu", f"the device {named} was asked for, but no GPU can be used: trained on cpu"
    return str(resolve_device(named)), ""


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
    """The fastest precision that is safe on a device, cpu, cuda or cuda:N."""
    if not device.startswith("cuda"):
        return "float32"
    return resolve_precision(AUTO, torch.device(device))
