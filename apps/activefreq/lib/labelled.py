"""Which images with a label the choice of the next image takes note of."""

from __future__ import annotations

import zlib

from monailabel.datastore.local import LocalDatastore

LIMIT = 500
"""The most of them; among so many, one more changes little."""


def labelled_sample(datastore: LocalDatastore) -> list[str]:
    """Ids of images with a label, all or a part that stays the same while others are labelled."""
    images = datastore.get_labeled_images()
    return sorted(images, key=lambda image: (zlib.crc32(image.encode()), image))[:LIMIT]


def images_to_score(datastore: LocalDatastore) -> list[str]:
    """Ids of the images that the model has to look at: those that wait and, if any does, some of the others."""
    waiting = datastore.get_unlabeled_images()
    return [*waiting, *labelled_sample(datastore)] if waiting else []
