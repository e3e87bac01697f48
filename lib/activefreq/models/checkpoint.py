"""Checkpoint files: one file says which network it is, how its session runs, and where it comes from."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch

from activefreq.errors import CheckpointError
from activefreq.files.atomic import atomic_write
from activefreq.models.backbones import BackboneConfig
from activefreq.models.config import ModelConfig, SessionConfig
from activefreq.models.inference import is_prepared
from activefreq.models.interactive import InteractiveModel
from activefreq.models.refiner import RefinerConfig
from activefreq.models.weights_file import in_a_line, load_weights

FORMAT = 1
SHIPPED = Path(__file__).resolve().parents[3] / "apps" / "activefreq" / "model"
"""Where the checkpoints that ship are; the environment variable ACTIVEFREQ_MODELS names another folder."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        model: In evaluation mode, on the CPU.
        session: How crops are taken and merged with this network.
        info: Free JSON-like notes: recipe, data, figures.
    """

    model: InteractiveModel
    session: SessionConfig = field(default_factory=SessionConfig)
    info: Mapping[str, Any] = field(default_factory=dict)


def resolve_checkpoint(path_or_name: str | Path) -> Path:
    """The file of a path, or of a shipped checkpoint's name. Raises `CheckpointError` if there is none."""
    path = Path(path_or_name)
    if path.is_file():
        return path
    folder = Path(os.environ.get("ACTIVEFREQ_MODELS", SHIPPED))
    shipped = folder / f"{path_or_name}.pt"
    if path.name == str(path_or_name) and shipped.is_file():
        return shipped
    names = ", ".join(sorted(file.stem for file in folder.glob("*.pt"))) or "none"
    raise CheckpointError(f"no checkpoint at {path_or_name} (shipped in {folder}: {names})")


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, half: bool = False) -> None:
    """Writes a checkpoint atomically.

    Args:
        half: Store float32 weights as float16 if their range allows it. Loading returns them to float32.

    Raises:
        ValueError: The model was made by `prepare_for_inference`: what it has folded together is lost.
        OSError: The file cannot be written, such as on a full disk (`errno.ENOSPC`); what was there before stays.
    """
    if is_prepared(checkpoint.model):
        raise ValueError("a model prepared for inference cannot be saved: save the one it was made from")
    weights = {name: _stored(value, half=half) for name, value in checkpoint.model.state_dict().items()}
    content = {
        "format": FORMAT,
        "model": _plain(checkpoint.model.config),
        "session": _plain(checkpoint.session),
        "info": _plain(checkpoint.info),
        "weights": weights,
    }
    # On a full disk torch says that a file's position is unexpected, and Python what is the matter.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint; runs no code from it. Raises `CheckpointError` naming what is wrong."""
    return _load(path, path)


def load_checkpoint_and_hash(path: Path) -> tuple[Checkpoint, str]:
    """As `load_checkpoint` and `checkpoint_hash`, of the same bytes also where the file is replaced meanwhile."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint at {path}") from None
    except OSError as error:
        raise CheckpointError(f"{path} is not a readable checkpoint: {error}") from error
    return _load(path, io.BytesIO(content)), hashlib.sha256(content).hexdigest()


def checkpoint_hash(path: Path) -> str:
    """SHA-256 of the file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _load(path: Path, source: Path | BinaryIO) -> Checkpoint:
    """Reads a checkpoint from a source that is the file, or has its bytes."""
    try:
        content = load_weights(source)
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint at {path}") from None
    except (OSError, CheckpointError) as error:
        raise CheckpointError(f"{path} is not a readable checkpoint: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not an ActiveFreq checkpoint of format {FORMAT}")
    try:
        model = InteractiveModel(_model_config(content["model"]))
        model.load_state_dict({name: _full(value) for name, value in content["weights"].items()})
        session = SessionConfig(**content["session"])
    except Exception as error:  # and so can a network of damaged numbers
        raise CheckpointError(f"{path} does not fit the network that it names: {in_a_line(error)}") from error
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise CheckpointError(f"{path} holds NaN or infinity in {name}")
    return Checkpoint(model.eval(), session, content.get("info", {}))


def _stored(value: torch.Tensor, *, half: bool) -> torch.Tensor:
    value = value.detach().cpu()
    if half and value.dtype == torch.float32 and bool((value.abs() <= torch.finfo(torch.float16).max).all()):
        return value.half()
    return value


def _full(value: torch.Tensor) -> torch.Tensor:
    return value.float() if value.dtype == torch.float16 else value


def _plain(value: Any) -> Any:
    """Dataclasses, mappings and tuples as what `torch.load(weights_only=True)` reads back."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _model_config(content: dict[str, Any]) -> ModelConfig:
    content = dict(content)
    backbone = BackboneConfig(**content.pop("backbone"))
    refiner = RefinerConfig(**content.pop("refiner"))
    return ModelConfig(backbone=backbone, refiner=refiner, **content)
