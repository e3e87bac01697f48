"""The mean of trained weights: one network that is often better than those that it is made of, at the price of one.

Source: model soups (Wortsman et al., ICML 2022). Means are of networks that began with the same weights; the weights of
others mean nothing together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from activefreq.errors import InputError
from activefreq.models.checkpoint import Checkpoint, checkpoint_hash, load_checkpoint


def average_checkpoints(paths: Sequence[Path], shares: Sequence[float]) -> Checkpoint:
    """The mean of several checkpoints of one network.

    Args:
        paths: At least two files, of one architecture.
        shares: A positive number for each; they are divided by their sum.

    Returns:
        A checkpoint with the sizes, the session and the notes of the first, and in its notes `mean_of`: the hash and
        the share of each. Images that any of them was fine-tuned on are noted; a validation, which was the first's
        alone, is not. What is counted, not weighed (batches that a normalization saw), is the first's.

    Raises:
        InputError: Too few files, a share that is not positive, or networks that differ, named.
        CheckpointError: A file that cannot be read as a checkpoint.
    """
    if len(paths) < 2:
        raise InputError("a mean needs at least two checkpoints")
    if len(shares) != len(paths):
        raise InputError(f"{len(paths)} checkpoints and {len(shares)} shares: give one for each")
    if not all(math.isfinite(share) and share > 0 for share in shares):
        raise InputError(f"shares have to be positive numbers, not {', '.join(f'{share:g}' for share in shares)}")
    first, *others = checkpoints = [load_checkpoint(path) for path in paths]
    for path, other in zip(paths[1:], others, strict=True):
        ours, theirs = ((one.model.config.backbone, one.model.config.refiner) for one in (first, other))
        if ours != theirs:
            raise InputError(f"{paths[0]} and {path} are different networks: {ours} and {theirs}")
    parts = [share / math.fsum(shares) for share in shares]
    first.model.load_state_dict(_mean([one.model.state_dict() for one in checkpoints], parts))
    mean_of = [{"sha256": checkpoint_hash(path), "share": part} for path, part in zip(paths, parts, strict=True)]
    info = {key: value for key, value in first.info.items() if key not in ("validation", "finetuned")}
    seen = [name for one in checkpoints for name in one.info.get("finetuned", {}).get("images", ())]
    if seen:
        # A later fine-tuning holds none of them out.
        info["finetuned"] = {"images": list(dict.fromkeys(seen))}
    return Checkpoint(first.model, first.session, {**info, "mean_of": mean_of})


def _mean(weights: Sequence[dict[str, torch.Tensor]], parts: Sequence[float]) -> dict[str, torch.Tensor]:
    mean: dict[str, torch.Tensor] = {}
    for name, value in weights[0].items():
        if value.is_floating_point():
            # In float64, so that equal weights stay what they are.
            terms = [one[name].double() * part for one, part in zip(weights, parts, strict=True)]
            mean[name] = torch.stack(terms).sum(dim=0).to(value.dtype)
        else:
            mean[name] = value.clone()
    return mean
