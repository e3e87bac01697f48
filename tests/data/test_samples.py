from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from activefreq.data.samples import Sample

SAMPLE = Sample("a", np.arange(12, dtype=np.uint8).reshape(3, 4), np.eye(3, 4, dtype=bool), "patient")


def test_the_digest_is_of_the_pixels_alone_and_the_same_in_every_process() -> None:
    assert SAMPLE.digest == "31ec068ce85bc6ec"
    assert dataclasses.replace(SAMPLE, name="b", group="other").digest == SAMPLE.digest
    fortran = dataclasses.replace(SAMPLE, image=np.asfortranarray(SAMPLE.image))
    assert fortran.digest == SAMPLE.digest


@pytest.mark.parametrize(
    "change",
    [
        {"image": SAMPLE.image + np.uint8(1)},
        {"image": SAMPLE.image.astype(np.uint16)},
        {"image": SAMPLE.image.reshape(4, 3)},
        {"target": ~SAMPLE.target},
        {"image": SAMPLE.image.view(bool), "target": SAMPLE.target.view(np.uint8)},
    ],
)
def test_another_image_or_target_has_another_digest(change: dict[str, np.ndarray]) -> None:
    assert dataclasses.replace(SAMPLE, **change).digest != SAMPLE.digest
