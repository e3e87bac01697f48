#!/usr/bin/env python
"""Fine-tunes a checkpoint on a few labelled images, as the MONAI Label trainer does on what people have submitted.

Example:
  python scripts/finetune.py --images DIR --labels DIR --label-value 1 --part train --limit 24 --output runs/tuned
  python scripts/evaluate_noc.py --images DIR --labels DIR --label-value 1 --part test --policy standard \\
      --weights runs/tuned/finetuned.pt --output runs/tuned/after

OUTPUT, which must not hold a finetuned.pt yet, gets it, unless the validation on held-out images got worse, and
finetuning.json with all figures. Ctrl-C ends it after the step, and the best weights so far stay; a second one at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from activefreq.command_line import command
from activefreq.errors import InputError


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    data = made.add_argument_group("labelled images")
    data.add_argument("--images", required=True, metavar="DIR", help="images, volumes, or a MONAI Label studies folder")
    data.add_argument("--labels", metavar="DIR", help="masks, named like the images; not for a studies folder")
    data.add_argument(
        "--label-value", nargs="+", type=int, metavar="V", help="labels that are the object (default: all but 0)"
    )
    data.add_argument("--min-area", type=int, default=1, metavar="N", help="leave out smaller objects (default: 1)")
    data.add_argument("--group", metavar="RULE", help="what belongs to one patient: a known rule, or an expression")
    data.add_argument("--part", choices=("train", "validation", "test"), help="only this part of the fixed division")
    data.add_argument("--limit", type=int, metavar="N", help="only N of the images or slices, drawn with --seed")
    recipe = made.add_argument_group("recipe (defaults are those of the MONAI Label trainer)")
    recipe.add_argument("--weights", default="default", metavar="W", help="a file, or the name of one that ships")
    recipe.add_argument("--epochs", type=int, default=30, metavar="N", help="(default: 30)")
    recipe.add_argument("--batch-size", type=int, default=4, metavar="N", help="(default: 4)")
    recipe.add_argument("--held-out", type=float, default=0.2, metavar="SHARE", help="for validation (default: 0.2)")
    recipe.add_argument("--seed", type=int, default=0, metavar="S", help="(default: 0)")
    recipe.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    made.add_argument("--output", type=Path, required=True, metavar="DIR", help="made if need be")
    return made


@command("finetune")
def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    # As in train.py: OpenMP reads this when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    run(options)
    return 0


@contextlib.contextmanager
def stopped_by_ctrl_c() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C within the block sets; the second one ends it at once."""
    stopping = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def ask_to_stop(number: int, _: object) -> None:
        stopping.set()
        signal.signal(number, before)

    signal.signal(signal.SIGINT, ask_to_stop)
    try:
        yield stopping
    finally:
        signal.signal(signal.SIGINT, before)


def run(options: argparse.Namespace) -> None:
    """Raises `ActiveFreqError` or `OSError` for what is wrong with the options or the files."""
    from tqdm import tqdm

    from activefreq.data.discovery import find_samples
    from activefreq.data.drawing import draw_samples
    from activefreq.files.atomic import write_json
    from activefreq.models.checkpoint import checkpoint_hash, load_checkpoint, resolve_checkpoint
    from activefreq.training.finetune import FinetuneConfig, FinetuneProgress, finetune

    config = FinetuneConfig(
        epochs=options.epochs, batch_size=options.batch_size, validation_share=options.held_out, seed=options.seed
    )
    target = options.output / "finetuned.pt"
    if target.exists():
        raise InputError(f"there is a {target} already: another folder, or another name for that file, keeps both")
    source = find_samples(
        options.images,
        options.labels,
        label_value=options.label_value,
        min_area=options.min_area,
        group=options.group,
        progress=True,
    )
    samples = draw_samples(source, part=options.part, limit=options.limit, seed=options.seed).verified(progress=True)
    for problem in samples.problems:
        print(f"finetune: left out {problem}", file=sys.stderr)
    weights = resolve_checkpoint(options.weights)
    checkpoint = load_checkpoint(weights)
    options.output.mkdir(parents=True, exist_ok=True)
    with stopped_by_ctrl_c() as stopping, tqdm(desc="Fine-tuning", unit="step") as bar:

        def follow(progress: FinetuneProgress) -> None:
            bar.total = progress.steps
            bar.update()
            if progress.validation is not None:
                bar.set_postfix(loss=f"{progress.loss:.3f}", miou=f"{progress.validation.score:.4f}")

        result = finetune(
            checkpoint,
            samples,
            config,
            publish=target,
            device=options.device,
            listener=follow,
            stop=stopping.is_set,
        )
    record = {"weights": checkpoint_hash(weights), "config": asdict(config), **result.origin}
    write_json(options.output / "finetuning.json", {**result.stats(), **record})
    print(result.reason)


if __name__ == "__main__":
    sys.exit(main())
