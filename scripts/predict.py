"""Segments an image or a slice of a volume by clicks given on the command line, and writes mask and picture."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from activefreq.clicks import Click
from activefreq.command_line import command
from activefreq.errors import InputError


def parse_click(text: str) -> Click:
    """Reads "y,x" or "y,x,+" or "y,x,-"."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (2, 3) or (len(parts) == 3 and parts[2] not in ("+", "-")):
        raise InputError(f"a click is y,x or y,x,+ or y,x,-, not {text!r}")
    try:
        return Click(int(parts[0]), int(parts[1]), parts[2:] != ["-"])
    except ValueError:
        raise InputError(f"a click has whole numbers, not {text!r}") from None


MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
"""Pictures that keep a mask as it is."""
PICTURE_SUFFIXES = (*MASK_SUFFIXES, ".jpg", ".jpeg")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("image", type=Path, help="2D image, or volume with --slice")
    made.add_argument(
        "--click",
        action="append",
        required=True,
        metavar="Y,X[,+|-]",
        help="row and column, + for the object (the default) or - for the background; repeat in order",
    )
    made.add_argument("--slice", type=int, metavar="K", help="slice of a volume, in the file's own order")
    made.add_argument("--weights", default="default", help="checkpoint file, or the name of one that ships")
    made.add_argument("--previous-mask", type=Path, help="2D mask to correct")
    made.add_argument(
        "--mirrors",
        type=int,
        metavar="N",
        help="average the answers to N mirror images, 1, 2 or 4: N times as long, and often a little better",
    )
    made.add_argument("--device", default="auto")
    made.add_argument("--output", type=Path, required=True, help="mask file to write, such as mask.png")
    made.add_argument("--picture", type=Path, help="also draw image, clicks and outline into this PNG")
    return made


@command("predict")
def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    run(options)
    return 0


def run(options: argparse.Namespace) -> None:
    # Imported here, so that --help and a misspelt click answer at once.
    from PIL import Image

    from activefreq.files.atomic import atomic_write
    from activefreq.files.images import read_image, read_labels
    from activefreq.files.volumes import read_volume

    clicks = [parse_click(text) for text in options.click]
    for path, suffixes in ((options.output, MASK_SUFFIXES), (options.picture, PICTURE_SUFFIXES)):
        if path is not None and path.suffix.lower() not in suffixes:
            raise InputError(f"{path} must be named {', '.join('*' + suffix for suffix in suffixes)}")
        if path is not None and not path.parent.is_dir():
            raise InputError(f"{path.parent}: there is no such folder")
    files = {
        "the image": options.image,
        "the mask": options.output,
        "the previous mask": options.previous_mask,
        "the picture": options.picture,
    }
    given = [(name, path) for name, path in files.items() if path is not None]
    for (name, path), (other, again) in itertools.combinations(given, 2):
        corrected = (name, other) == ("the mask", "the previous mask")
        if path.resolve() == again.resolve() and not corrected:
            raise InputError(f"{again} cannot be both {name} and {other}")
    if options.slice is None:
        image = read_image(options.image)
    else:
        volume = read_volume(options.image).array
        if not 0 <= options.slice < len(volume):
            raise InputError(f"{options.image} has the slices 0 to {len(volume) - 1}, not {options.slice}")
        image = volume[options.slice]
    previous = None if options.previous_mask is None else read_labels(options.previous_mask) != 0

    from activefreq.session.segmenter import InteractiveSegmenter

    segmenter = InteractiveSegmenter.from_pretrained(options.weights, options.device, mirrors=options.mirrors)
    result = segmenter.predict(image, clicks, previous)
    with atomic_write(options.output) as path:
        Image.fromarray(result.mask.astype(np.uint8) * 255).save(path)
    if options.picture is not None:
        from activefreq.session.picture import draw_result

        with atomic_write(options.picture) as path:
            Image.fromarray(draw_result(image, result.mask, clicks)).save(path)


if __name__ == "__main__":
    sys.exit(main())
