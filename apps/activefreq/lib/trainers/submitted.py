"""The submitted labels as they are at one moment, as samples to train on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from activefreq.data.discovery import samples_of_pairs
from activefreq.data.pairs import Pair, Problem, image_name
from activefreq.data.samples import SampleSource
from activefreq.errors import InputError
from lib.answers import all_called, without_paths
from lib.suggested_segments import label_values, names_suggestions, suggested_values

FINAL = DefaultLabelTag.FINAL.value


def labelled_samples(datastore: Datastore, folder: Path) -> SampleSource:
    """All images and slices with a submitted label that is not empty, without regions that were only suggested.

    Samples are named by the ids of their images: files may be links to others of one name in many folders.

    Args:
        datastore: Of the images.
        folder: Empty; keeps the labels as they are now, whatever is submitted while the samples are read.

    Returns:
        The source; its `problems` name images whose image or label cannot be used, and no file by its path.

    Raises:
        InputError: There are none; the message says whether there is a label.
    """
    pairs, problems = [], []
    for image_id in datastore.get_labeled_images():
        try:
            image = datastore.get_image_uri(image_id)
            label = _keep(datastore.get_label_uri(image_id, FINAL), folder, image_id)
        except FileNotFoundError:
            problems.append(Problem(image_id, "the image or its label is not there any more"))
            continue
        except (HTTPException, InputError) as error:
            # Such as of a series or a segmentation that the DICOMweb server does not give.
            problems.append(Problem(image_id, str(getattr(error, "detail", error))))
            continue
        suggested = _suggested(datastore.get_label_info(image_id, FINAL), label)
        if suggested:
            reason = (
                f"the voxels of {' and '.join(sorted(suggested))}: remove these segments and submit the label again"
            )
            problems.append(Problem(image_id, reason))
        pairs.append(Pair(image_id, Path(image), label, background=frozenset(suggested.values())))
    if not pairs and problems:
        raise InputError(f"no submitted label can be used; the first of {len(problems)} problems is {problems[0]}")
    if not pairs:
        raise InputError("no image has a submitted label yet: there is nothing to train on")
    names = _names(pairs)
    with all_called(names):
        samples = samples_of_pairs(pairs, problems=problems).verified()
    told = [Problem(problem.name, without_paths(problem.reason, names)) for problem in samples.problems]
    return SampleSource(samples.references, problems=told)


def file_names(samples: SampleSource) -> dict[str, str]:
    """What the files of samples are called for clients, by their paths."""
    return _names(reference.pair for reference in samples.references)


def _names(pairs: Iterable[Pair]) -> dict[str, str]:
    names = {}
    for pair in pairs:
        names[str(pair.image)] = pair.name + _suffix(pair.image)
        names[str(pair.label)] = f"the label {pair.label.name}"
    return names


def _suffix(path: Path) -> str:
    return path.name.removeprefix(image_name(path))


def _keep(label: str, folder: Path, image_id: str) -> Path:
    """Keeps what a label's file holds now. Raises `FileNotFoundError` if there is none.

    The datastores replace files whole, so that another name of the same file keeps its content, and costs no room.
    """
    kept = folder / (image_id + _suffix(Path(label)))
    try:
        os.link(label, kept)
    except FileNotFoundError:
        raise
    except OSError:  # on another file system, or one that has no second names
        shutil.copyfile(label, kept)
    return kept


def _suggested(info: Mapping[str, Any], label: Path) -> dict[str, int]:
    """Values, by name, of suggestions in a label that was saved before such were refused, or came in another way."""
    if not names_suggestions(info):
        return {}
    try:
        return suggested_values(info, label_values(label))
    except InputError:
        return {}  # told when the label is read to be learned
