"""Which checkpoint file is served: the one that people's labels have made of the configured one, if there is one."""

from __future__ import annotations

import functools
from pathlib import Path

from activefreq.models.checkpoint import checkpoint_hash, resolve_checkpoint


def served_path(name: str, finetuned: Path) -> Path:
    """The file that is served now.

    Args:
        name: The configured checkpoint: a path, or the name of one that ships.
        finetuned: The folder of fine-tuned checkpoints.

    Raises:
        CheckpointError: There is no checkpoint of that name.
    """
    published = finetuned_path(name, finetuned)
    return published if published.is_file() else resolve_checkpoint(name)


def finetuned_path(name: str, finetuned: Path) -> Path:
    """The file to which fine-tunings of a configured checkpoint are published; need not be there.

    It carries the content of the configured checkpoint in its name: whoever configures another one, or updates the one
    that ships, is served that one, and not what was once made of its predecessor.
    """
    base = resolve_checkpoint(name)
    stat = base.stat()
    return finetuned / f"{base.stem}-{_hash(base, stat.st_mtime_ns, stat.st_size)[:12]}.pt"


@functools.lru_cache(maxsize=16)
def _hash(path: Path, _modified: int, _size: int) -> str:
    return checkpoint_hash(path)
