"""Where a training comes from: code, versions, machine, files. Written beside its checkpoints."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from activefreq.training.distributed import world_size

PACKAGES = ("torch", "torchvision", "timm", "monai", "pytorch-ignite", "numpy", "scipy")


def provenance(device: torch.device) -> dict[str, Any]:
    """What the result may depend on beside configuration and data, as plain YAML values."""
    return {
        "revision": git_revision(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "processes": world_size(),
        "threads": torch.get_num_threads(),
    }


def git_revision(folder: Path = Path(__file__).parent) -> str | None:
    """The commit of the code, with "-dirty" if files differ from it; None outside a clone of it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # A virtual environment inside some other project's clone is not a clone of this one.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
