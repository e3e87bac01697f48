#!/usr/bin/env python
"""Labels the ring around labelled objects, such as the heart's muscle around its cavity, by a model: for training.

  python scripts/ring_labels.py --images cavity/images --labels cavity/labels --output rings

writes rings/images and rings/labels, for images of 8 bits and grey ones of 16. Any other image ends it before
anything is written, and so does a folder with rings by other weights or options. Where the model shows no ring, there
is none. See activefreq.data.rings.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from activefreq.command_line import command


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--images", type=Path, required=True, help="folder of images")
    made.add_argument("--labels", type=Path, required=True, help="folder of masks of what the rings go around")
    made.add_argument("--group", help="which files belong together, as for train.py")
    made.add_argument("--part", choices=("train", "validation", "test"), help="only this part of the groups")
    made.add_argument(
        "--exclude",
        nargs="+",
        default=[],
        metavar="N",
        help="images that have a ring already: names, or files of names",
    )
    made.add_argument("--weights", default="default", help="checkpoint file, or the name of one that ships")
    made.add_argument("--device", default="auto")
    made.add_argument("--output", type=Path, required=True, help="folder to write to")
    return made


@command("ring_labels")
def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    run(options)
    return 0


def run(options: argparse.Namespace) -> None:
    # Imported here, so that --help answers at once.
    from tqdm import tqdm

    from activefreq.data.discovery import find_samples
    from activefreq.data.drawing import draw_samples
    from activefreq.data.names import names_of, typed_names
    from activefreq.data.prepared import PartFolder, claim_folder
    from activefreq.data.rings import RingConfig, inside_of_outline, ring_clicks, smooth_ring
    from activefreq.models.checkpoint import checkpoint_hash, resolve_checkpoint
    from activefreq.session.segmenter import InteractiveSegmenter

    config = RingConfig()
    folder = PartFolder(options.output, ".png")
    folder.check_apart(options.images, options.labels)
    weights = resolve_checkpoint(options.weights)
    exclude = names_of(options.exclude)
    settings = {
        "data": "ring labels",
        "weights": checkpoint_hash(weights),
        "group": options.group,
        "part": options.part,
        "exclude": sorted(exclude),
        **asdict(config),
    }
    samples = find_samples(
        options.images, options.labels, group=options.group, exclude=exclude, typed=typed_names(options.exclude)
    )
    samples = draw_samples(samples, part=options.part).verified()
    for problem in samples.problems:
        print(f"ring_labels: left out {problem}", file=sys.stderr)
    # An image of every file, before the first is written: a run takes long, and all slices of a volume are alike.
    for index in {reference.pair: index for index, reference in enumerate(samples.references)}.values():
        folder.check(samples.names[index], samples[index].image)
    segmenter = InteractiveSegmenter.from_pretrained(weights, options.device)
    claim_folder(options.output, settings)
    written = 0
    for sample in tqdm(samples, disable=not sys.stderr.isatty(), unit="image"):
        inner = inside_of_outline(sample.target, config.outline)
        if not inner.any():
            continue
        clicks = ring_clicks(inner, config)
        if clicks is None:
            continue
        answer = segmenter.predict(sample.image, clicks).mask
        ring = smooth_ring(answer | sample.target, inner, config)
        if ring is not None:
            folder.write(sample.name, sample.image, ring.mask)
            written += 1
    print(f"{written} rings of {len(samples)} objects in {options.output}")


if __name__ == "__main__":
    sys.exit(main())
