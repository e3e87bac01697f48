from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import HTTPException
from synthetic import write_volume

from activefreq.files.grids import Geometry
from activefreq.files.volumes import read_volume
from activefreq.session.automatic import automatic_probability
from activefreq.session.state import prepare_image
from lib.images import ImageCache
from lib.infers.automatic_segmentation import MOST_SLICES, AutomaticSegmentation
from lib.served_model import ServedModel


@pytest.fixture
def task(served_model: ServedModel) -> AutomaticSegmentation:
    return AutomaticSegmentation(served_model, ImageCache(1 << 20), label="lesion")


@pytest.mark.parametrize("extension", [".nrrd", ".nii.gz"])
def test_all_slices_are_segmented_on_the_images_grid(
    task: AutomaticSegmentation, served_model: ServedModel, tmp_path: Path, extension: str
) -> None:
    array = np.random.default_rng(0).normal(size=(7, 24, 30)).astype(np.float32)
    grid = Geometry(array.shape, (0.5, 0.7, 3.0), (4.0, -9.0, 20.0), (0, 1, 0, -1, 0, 0, 0, 0, 1))
    write_volume(tmp_path / "turned.nrrd", array, grid)
    answer, facts = task({"image": str(tmp_path / "turned.nrrd"), "result_extension": extension})
    written = read_volume(answer)
    Path(answer).unlink()
    assert answer.endswith(extension)
    network = served_model.current().segmenter.model
    expected = np.stack([automatic_probability(network, prepare_image(one)) > 0.5 for one in array])
    np.testing.assert_array_equal(written.array, expected)
    assert expected.any()
    np.testing.assert_allclose(written.geometry.origin, grid.origin, atol=1e-5)
    np.testing.assert_allclose(written.geometry.direction, grid.direction, atol=1e-6)
    assert facts["label_names"] == {"lesion": 1}


@pytest.mark.parametrize(
    ("slices", "request_", "message"),
    [
        (2, {"foreground": [[1, 1, 0]]}, "takes no clicks"),
        (2, {"result_extension": ".png"}, "result_extension"),
        (MOST_SLICES + 1, {}, f"has {MOST_SLICES + 1} slices, and at most {MOST_SLICES}"),
    ],
)
def test_what_it_does_not_do_is_told(
    task: AutomaticSegmentation, tmp_path: Path, slices: int, request_: dict[str, Any], message: str
) -> None:
    array = np.zeros((slices, 4, 4), np.uint8)
    write_volume(tmp_path / "a.nrrd", array, Geometry(array.shape))
    with pytest.raises(HTTPException, match=message) as caught:
        task({"image": str(tmp_path / "a.nrrd"), **request_})
    assert caught.value.status_code == 422
