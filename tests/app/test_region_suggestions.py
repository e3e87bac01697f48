from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import write_volume

from activefreq.acselect.ranking import spread_slices
from activefreq.files.grids import Geometry
from activefreq.files.volumes import read_label_volume
from activefreq.session.automatic import automatic_probability
from activefreq.session.state import prepare_image
from lib.click_memory import ClickMemory
from lib.images import ImageCache
from lib.infers.region_suggestions import RegionSuggestions
from lib.scoring.acselect import SLICES
from lib.served_model import ServedModel


@pytest.fixture
def task(served_model: ServedModel) -> RegionSuggestions:
    return RegionSuggestions(served_model, ImageCache(1 << 20), ClickMemory(1 << 20))


def test_without_clicks_a_spread_of_slices_is_looked_at(
    task: RegionSuggestions, served_model: ServedModel, tmp_path: Path
) -> None:
    count = 3 * SLICES + 5
    array = np.random.default_rng(0).normal(size=(count, 12, 16)).astype(np.float32)
    write_volume(tmp_path / "long.nrrd", array, Geometry(array.shape))
    answer, facts = task({"image": str(tmp_path / "long.nrrd")})
    labels = read_label_volume(answer).array
    Path(answer).unlink()
    looked = spread_slices(count, SLICES).tolist()
    assert (facts["by_clicks"], facts["looked_at"]) == (False, looked)
    assert labels.shape == array.shape
    assert not np.delete(labels, looked, axis=0).any()
    network = served_model.current().segmenter.model
    for k in looked:
        seen = automatic_probability(network, prepare_image(array[k])) > 0.5
        assert (labels[k] == 1).any() == seen.any()


def test_clicks_are_answered_on_their_slices(task: RegionSuggestions, tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(SLICES + 9, 12, 16)).astype(np.float32)
    write_volume(tmp_path / "long.nrrd", array, Geometry(array.shape))
    clicks = {"foreground": [[3, 4, SLICES + 8]], "background": [[3, 4, 2]]}
    answer, facts = task({"image": str(tmp_path / "long.nrrd"), **clicks})
    Path(answer).unlink()
    assert (facts["by_clicks"], facts["looked_at"]) == (True, [2, SLICES + 8])
