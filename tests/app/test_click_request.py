from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activefreq.clicks import Click
from activefreq.errors import InputError
from lib.click_request import MOST_CLICKS, ClickRequest, SliceClicks

SIZE = (50, 40, 8)
"""(I, J, K)"""


def test_reads_what_slicer_sends() -> None:
    request = {
        "label": "lesion",
        "foreground": [[40, 20, 7], [30, 21, 7]],
        "background": [[10, 12, 7]],
        "slice": 7,
        "device": "cpu",
        "result_extension": ".nrrd",
        "result_dtype": "uint8",
        "client_id": "user",
    }
    parsed = ClickRequest.parse(request, SIZE)
    # (i, j) is (x, y).
    assert parsed.slices == {7: SliceClicks((Click(20, 40), Click(21, 30)), (Click(12, 10, False),))}
    assert (parsed.extension, parsed.compress) == (".nrrd", True)


def test_every_point_says_its_own_slice() -> None:
    """With the last click on slice 0, Slicer sends the clicks of all slices, and `slice: 0`."""
    request = {"foreground": [[4, 5, 6], [1, 2, 0]], "background": [[7, 8, 6], [9, 9, 3]], "slice": 0}
    parsed = ClickRequest.parse(request, SIZE)
    assert list(parsed.slices) == [0, 3, 6]
    assert parsed.slices == {
        0: SliceClicks((Click(2, 1),), ()),
        3: SliceClicks((), (Click(9, 9, False),)),
        6: SliceClicks((Click(5, 4),), (Click(8, 7, False),)),
    }


def test_reads_what_ohif_sends() -> None:
    request = {
        "foreground": [[15, 30, 5]],
        "background": [],
        "result_extension": ".nrrd",
        "result_dtype": "uint8",
        "result_compress": False,
        "restore_label_idx": False,
    }
    parsed = ClickRequest.parse(request, SIZE)
    assert parsed == ClickRequest({5: SliceClicks((Click(30, 15),), ())}, ".nrrd", False)


@pytest.mark.parametrize("request_", [{}, {"foreground": [], "background": []}, {"foreground": None}])
def test_no_click_is_no_error(request_: dict[str, Any]) -> None:
    assert ClickRequest.parse(request_, SIZE).slices == {}


def test_whole_floats_are_indices() -> None:
    assert ClickRequest.parse({"foreground": [[4.0, 5.0, 6.0]]}, SIZE).slices[6].positives == (Click(5, 4),)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"foreground": [[1, 2]]}, r"foreground point 1 must be three numbers \[i, j, k\], not \[1, 2\]"),
        ({"foreground": [[1, 2, 3], [1, 2, 3, 4]]}, "foreground point 2 must be three numbers"),
        ({"background": [7]}, "background point 1 must be three numbers"),
        ({"background": [["1", 2, 3]]}, "background point 1 must be whole numbers"),
        ({"foreground": [[1, None, 3]]}, "foreground point 1 must be whole numbers"),
        ({"foreground": [[1, True, 3]]}, "foreground point 1 must be whole numbers"),
        ({"foreground": [[1, 2.5, 3]]}, "foreground point 1 must be whole numbers"),
        ({"foreground": [[1, float("nan"), 3]]}, "foreground point 1 must be whole numbers"),
        ({"foreground": [[1, float("inf"), 3]]}, "foreground point 1 must be whole numbers"),
        ({"foreground": [[50, 2, 3]]}, r"foreground point 1 at \[50, 2, 3\] is outside the image of 50 x 40 x 8"),
        ({"foreground": [[0, 40, 0]]}, "outside"),
        ({"foreground": [[0, 0, 8]]}, "outside"),
        ({"foreground": [[0, -1, 0]]}, "outside"),
        ({"foreground": [[10**400, 0, 0]]}, "outside"),
        ({"foreground": "1,2,3"}, "foreground must be a list"),
        ({"background": {"0": [1, 2, 3]}}, "background must be a list"),
        ({"result_extension": ".exe"}, "result_extension must be one of"),
        ({"result_extension": ["x"]}, "result_extension must be one of"),
        ({"result_dtype": "float32"}, "result_dtype must be 'uint8'"),
        ({"result_compress": "no"}, "result_compress must be true or false"),
    ],
)
def test_bad_entries_are_named(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClickRequest.parse(request_, SIZE)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(["foreground", "background", "result_extension", "result_compress", "slice"]), json_values
    )
)
def test_any_json_is_read_or_refused(request_: dict[str, Any]) -> None:
    with contextlib.suppress(InputError):
        ClickRequest.parse(request_, SIZE)


points = st.lists(st.tuples(st.integers(-2, 51), st.integers(-2, 41), st.integers(-1, 8)).map(list), max_size=4)


@given(points, points)
def test_points_inside_the_image_are_clicks_and_others_are_refused(
    foreground: list[list[int]], background: list[list[int]]
) -> None:
    request = {"foreground": foreground, "background": background}
    inside = all(0 <= i < 50 and 0 <= j < 40 and 0 <= k < 8 for i, j, k in (*foreground, *background))
    if not inside:
        with pytest.raises(InputError, match="is outside the image of 50 x 40 x 8 voxels"):
            ClickRequest.parse(request, SIZE)
        return
    parsed = ClickRequest.parse(request, SIZE)
    made = {
        (click.x, click.y, k, click.positive)
        for k, clicks in parsed.slices.items()
        for click in (*clicks.positives, *clicks.negatives)
    }
    assert made == {(*point, side) for side, part in ((True, foreground), (False, background)) for point in part}
    for k, clicks in parsed.slices.items():
        assert 0 <= k < 8
        for click in (*clicks.positives, *clicks.negatives):
            assert 0 <= click.y < 40
            assert 0 <= click.x < 50


def test_an_order_of_clicks_takes_the_place_of_both_lists() -> None:
    request = {"clicks": [[4, 5, 6, 0], [1, 2, 0, 1], [7, 8, 6, 1], [9, 9, 6, 0]], "foreground": [[3, 3, 3]]}
    parsed = ClickRequest.parse(request, SIZE)
    assert parsed.slices == {
        0: SliceClicks((Click(2, 1),), (), (True,)),
        6: SliceClicks((Click(8, 7),), (Click(5, 4, False), Click(9, 9, False)), (False, True, False)),
    }
    assert list(parsed.slices) == [0, 6]
    assert ClickRequest.parse({"clicks": []}, SIZE).slices == {}


@pytest.mark.parametrize(
    ("clicks", "message"),
    [
        ("all", "clicks must be a list"),
        ([[1, 2, 3]], "click 1 must be"),
        ([[1, 2, 3, 1], [1, 2, 3, 2]], "click 2 must be"),
        ([[1, 2, 99, 1]], "click 1 at .* is outside"),
        ([[1, 2.5, 3, 1]], "click 1 must be whole numbers"),
    ],
)
def test_an_order_that_cannot_be_used_is_named(clicks: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClickRequest.parse({"clicks": clicks}, SIZE)


@pytest.mark.parametrize("name", ["foreground", "background", "clicks"])
def test_a_request_takes_only_so_many_clicks(name: str) -> None:
    point = [1, 1, 0, 1] if name == "clicks" else [1, 1, 0]
    ClickRequest.parse({name: [point] * MOST_CLICKS}, (4, 4, 2))
    with pytest.raises(InputError, match=f"{name} has 1001 points, but a request takes 1000 at most"):
        ClickRequest.parse({name: [point] * (MOST_CLICKS + 1)}, (4, 4, 2))
