from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from activefreq import CheckpointError, Click, InputError, InteractiveSegmenter
from activefreq.models.checkpoint import load_checkpoint
from activefreq.models.interactive import InteractiveModel
from activefreq.session.segmenter import resolve_device

RNG = np.random.default_rng(3)
IMAGE = RNG.integers(0, 256, (90, 120, 3), np.uint8)
CLICKS = [Click(45, 60), Click(10, 10, False), Click(80, 100), Click(44, 30, False), Click(45, 60)]


@pytest.fixture
def segmenter(tiny_model: InteractiveModel) -> InteractiveSegmenter:
    made = InteractiveSegmenter(tiny_model)
    made.set_image(IMAGE)
    return made


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and np.array_equal(one, other)


def test_one_by_one_and_all_at_once_are_the_same_to_the_bit(segmenter: InteractiveSegmenter) -> None:
    for count, click in enumerate(CLICKS, start=1):
        result = segmenter.click(click.y, click.x, click.positive)
        at_once = segmenter.predict(IMAGE, CLICKS[:count])
        assert same(result.probability, at_once.probability)
        assert same(result.mask, at_once.mask)
        assert segmenter.clicks == tuple(CLICKS[:count])


def test_a_result_is_a_mask_and_its_probability(segmenter: InteractiveSegmenter) -> None:
    result = segmenter.click(45, 60)
    assert result.mask.shape == result.probability.shape == (90, 120)
    assert result.mask.dtype == bool
    assert result.probability.dtype == np.float32
    assert 0 <= result.probability.min() <= result.probability.max() <= 1
    assert same(result.mask, result.probability > 0.5)
    assert result.mask[45, 60]
    assert same(segmenter.result.probability, result.probability)


def test_undo_is_exact_to_any_depth(segmenter: InteractiveSegmenter) -> None:
    history = [segmenter.result.probability]
    for click in CLICKS:
        history.append(segmenter.click(click.y, click.x, click.positive).probability)
    for expected in history[-2::-1]:
        assert same(segmenter.undo().probability, expected)
    assert segmenter.clicks == ()
    with pytest.raises(InputError, match="nothing to undo"):
        segmenter.undo()
    for click, expected in zip(CLICKS, history[1:], strict=True):
        assert same(segmenter.click(click.y, click.x, click.positive).probability, expected)


def test_a_mask_is_continued_and_undone(segmenter: InteractiveSegmenter) -> None:
    before = segmenter.click(45, 60).probability
    mask = np.zeros((90, 120), bool)
    mask[30:50, 40:80] = True
    assert same(segmenter.set_mask(mask).mask, mask)
    assert segmenter.clicks == ()
    after = segmenter.click(70, 20)
    assert same(after.probability, segmenter.predict(IMAGE, [Click(70, 20)], previous_mask=mask).probability)
    untouched = after.mask == mask
    assert same(after.probability[untouched], mask.astype(np.float32)[untouched])
    segmenter.undo()
    assert same(segmenter.result.mask, mask)
    assert same(segmenter.undo().probability, before)
    assert segmenter.clicks == (Click(45, 60),)


def test_reset_forgets_clicks_and_keeps_the_image(segmenter: InteractiveSegmenter) -> None:
    first = segmenter.click(45, 60).probability
    segmenter.reset()
    assert segmenter.clicks == ()
    assert not segmenter.result.mask.any()
    assert same(segmenter.click(45, 60).probability, first)


def test_predict_leaves_the_session_alone(segmenter: InteractiveSegmenter) -> None:
    segmenter.click(45, 60)
    before = segmenter.state
    segmenter.predict(IMAGE[:40], [Click(3, 3)])
    assert segmenter.state is before


def test_no_clicks_give_the_previous_mask_or_an_empty_one(segmenter: InteractiveSegmenter) -> None:
    mask = np.zeros((90, 120), bool)
    mask[3:9, 3:9] = True
    assert not segmenter.predict(IMAGE, []).mask.any()
    assert same(segmenter.predict(IMAGE, [], previous_mask=mask).mask, mask)


def test_a_new_image_begins_anew_and_a_bad_one_changes_nothing(segmenter: InteractiveSegmenter) -> None:
    kept = segmenter.click(45, 60)
    with pytest.raises(InputError, match="no values but NaN"):
        segmenter.set_image(np.full((4, 4), np.nan))
    assert segmenter.result.probability is kept.probability
    segmenter.set_image(IMAGE[:40, :30])
    assert segmenter.clicks == ()
    assert segmenter.result.mask.shape == (40, 30)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 300), (300, 1), (5, 7), (2, 2, 3), (63, 65, 3), (2048, 2048), (700, 9, 1)]
)
def test_any_size_is_segmented(segmenter: InteractiveSegmenter, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 4000, shape, np.uint16)
    segmenter.set_image(image)
    corners = [Click(0, 0), Click(shape[0] - 1, shape[1] - 1, False), Click(shape[0] // 2, shape[1] // 2)]
    for click in corners:
        result = segmenter.click(click.y, click.x, click.positive)
        assert result.mask.shape == shape[:2]
        assert np.isfinite(result.probability).all()
        assert result.mask[click.y, click.x] == click.positive


@pytest.mark.parametrize(
    "image",
    [
        IMAGE[..., 0],
        IMAGE[..., :1],
        IMAGE.astype(np.uint16) * 200,
        IMAGE[..., 0].astype(np.int16) - 100,
        IMAGE.astype(np.float64) / 255,
        IMAGE[..., 0] > 100,
    ],
    ids=["gray", "channel", "uint16", "int16", "float", "bool"],
)
def test_any_usual_type_is_segmented(segmenter: InteractiveSegmenter, image: np.ndarray) -> None:
    segmenter.set_image(image)
    assert segmenter.click(4, 4).mask[4, 4]


@pytest.mark.parametrize(
    ("y", "x", "message"),
    [
        (-1, 0, r"y=-1, x=0\) is outside"),
        (90, 0, "outside the image of 90 x 120"),
        (0, 120, "outside"),
        (1.5, 0, "integer"),
        (True, 0, "bool"),
    ],
)
def test_a_click_that_cannot_be_is_named_and_changes_nothing(
    segmenter: InteractiveSegmenter, y: int, x: int, message: str
) -> None:
    before = segmenter.click(45, 60)
    with pytest.raises(InputError, match=message):
        segmenter.click(y, x)
    assert segmenter.clicks == (Click(45, 60),)
    assert segmenter.result.probability is before.probability


def test_numpy_integers_are_integers(segmenter: InteractiveSegmenter) -> None:
    y, x = np.argwhere(np.ones((3, 4)))[-1]
    segmenter.click(y, x)
    assert segmenter.clicks == (Click(2, 3),)


def test_without_an_image_there_is_nothing_to_click_on(tiny_model: InteractiveModel) -> None:
    empty = InteractiveSegmenter(tiny_model)
    for action in (
        lambda: empty.click(0, 0),
        empty.undo,
        empty.reset,
        lambda: empty.set_mask(np.zeros((2, 2), bool)),
        lambda: empty.result,
        lambda: empty.clicks,
    ):
        with pytest.raises(InputError, match="call set_image first"):
            action()


def test_a_mask_of_another_shape_changes_nothing(segmenter: InteractiveSegmenter) -> None:
    before = segmenter.state
    with pytest.raises(InputError, match="shape"):
        segmenter.set_mask(np.zeros((120, 90), bool))
    assert segmenter.state is before
    with pytest.raises(InputError, match="shape"):
        segmenter.predict(IMAGE, [], previous_mask=np.zeros((120, 90), bool))


def test_a_checkpoint_is_loaded_by_path(tiny_checkpoint: Path) -> None:
    segmenter = InteractiveSegmenter.from_pretrained(tiny_checkpoint, device="cpu")
    expected = InteractiveSegmenter(load_checkpoint(tiny_checkpoint).model).predict(IMAGE, CLICKS[:2])
    assert same(segmenter.predict(IMAGE, CLICKS[:2]).probability, expected.probability)


def test_a_checkpoint_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*nothing\.pt"):
        InteractiveSegmenter.from_pretrained(tmp_path / "nothing.pt")


def test_devices_are_resolved_by_name() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(InputError, match="unknown device"):
        resolve_device("abacus")
    with pytest.raises(InputError, match="is not there"):
        resolve_device(f"cuda:{torch.cuda.device_count()}")
