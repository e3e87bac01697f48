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


def test_one_click_on_a_lesion_with_the_other_checkpoint():
    photograph = dermoscopy_like()
    other = InteractiveSegmenter.from_pretrained("four-kinds", device="cpu")
    assert overlap_after(other, photograph.image, photograph.mask, 1) > 0.85


def test_three_clicks_on_a_slice_of_a_volume(segmenter):
    volume = mr_like()
    k = int(volume.mask.sum((1, 2)).argmax())
    assert overlap_after(segmenter, sitk.GetArrayFromImage(volume.image)[k], volume.mask[k], 3) > 0.8


@pytest.mark.parametrize("name", ["default", "four-kinds"])
def test_a_checkpoint_says_where_it_comes_from(name):
    info = load_checkpoint(resolve_checkpoint(name)).info
    assert info["name"] == name
    assert set(info["data"]) == {"isic2017", "sunnybrook_lv", "sunnybrook_myo", "msd_hippocampus"}
