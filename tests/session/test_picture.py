import numpy as np

from activefreq.clicks import Click
from activefreq.session.picture import NEGATIVE, OUTLINE, POSITIVE, draw_result


def test_outline_and_clicks_lie_where_mask_and_clicks_are():
    image = np.zeros((40, 80, 3), np.uint8)
    mask = np.zeros((40, 80), bool)
    mask[10:30, 20:60] = True
    picture = draw_result(image, mask, [Click(20, 40, True), Click(35, 5, False)], longest_side=160)
    assert picture.shape == (80, 160, 3)
    outline = (picture == OUTLINE).all(axis=2)
    assert outline[20, 40:120].mean() > 0.9
    assert not outline[30:50, 60:100].any()
    assert not outline[:15].any()
    assert tuple(picture[41, 81]) == POSITIVE
    assert tuple(picture[71, 11]) == NEGATIVE


def test_a_gray_image_keeps_its_order_of_grays():
    image = np.tile(np.arange(64, dtype=np.uint16) * 1000, (64, 1))
    picture = draw_result(image, np.zeros((64, 64), bool), longest_side=64)
    assert (picture[..., 0] == picture[..., 1]).all()
    assert (np.diff(picture[32, :, 0].astype(int)) >= 0).all()
    assert picture[32, 0, 0] == 0
    assert picture[32, -1, 0] == 255
