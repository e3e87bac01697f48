"""The checkpoint that ships is usable: it finds structures that it has never seen."""

import numpy as np
import pytest
import SimpleITK as sitk

from activefreq.acselect.clicker import standard_click
from activefreq.data.sample_studies import dermoscopy_like, mr_like
from activefreq.models.checkpoint import load_checkpoint, resolve_checkpoint
from activefreq.session.segmenter import InteractiveSegmenter


@pytest.fixture(scope="module")
def segmenter():
    return InteractiveSegmenter.from_pretrained("default", device="cpu")


def overlap_after(segmenter, image, target, clicks):
    segmenter.set_image(image)
    clicked = np.zeros(target.shape, bool)
    for _ in range(clicks):
        click = standard_click(segmenter.result.mask, target, clicked)
        clicked[click.y, click.x] = True
        segmenter.click(click.y, click.x, click.positive)
    mask = segmenter.result.mask
    return (mask & target).sum() / (mask | target).sum()


def test_one_click_on_a_lesion(segmenter):
    photograph = dermoscopy_like()
    assert overlap_after(segmenter, photograph.image, photograph.mask, 1) > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_three_clicks_on_a_slice_of_a_volume(segmenter, seed):
    volume = mr_like(seed=seed)
    k = int(volume.mask.sum((1, 2)).argmax())
    assert overlap_after(segmenter, sitk.GetArrayFromImage(volume.image)[k], volume.mask[k], 3) > 0.8


def test_the_checkpoint_says_where_it_comes_from():
    info = load_checkpoint(resolve_checkpoint("default")).info
    assert info["name"] == "default"
    assert set(info["data"]) == {"isic2017", "sunnybrook_lv", "sunnybrook_myo", "msd_hippocampus"}
