from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from activefreq.clicks import Click
from activefreq.data.samples import Sample
from activefreq.evaluation.suggestions import ROBOTS, SuggestionStudy, study_suggestions


@dataclass(frozen=True, eq=False)
class CannedState:
    clicks: tuple[Click, ...]
    probability: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        return self.probability > 0.5


class DoubtfulBackend:
    """Finds the upper half of the image's object at the first click, doubts the rest, and learns one row a click."""

    def open(self, name: str, image: np.ndarray) -> np.ndarray:
        return image > 0

    def start(self, image: np.ndarray, *, automatic: bool) -> CannedState:
        return CannedState((), np.zeros(image.shape))

    def answer(self, requests: Sequence[tuple[Any, Any, Click]]) -> list[CannedState]:
        states = []
        for target, state, click in requests:
            probability = np.array(state.probability)
            if not state.clicks:
                rows = np.flatnonzero(target.any(axis=1))
                probability[target] = 0.4
                probability[rows[0] : rows[len(rows) // 2]][target[rows[0] : rows[len(rows) // 2]]] = 1.0
                probability[0, :2] = 0.3  # a doubt that is unfounded
            else:
                probability[click.y][target[click.y]] = float(click.positive)
            states.append(CannedState((*state.clicks, click), probability))
        return states


def sample(name: str, size: int) -> Sample:
    target = np.zeros((24, 24), bool)
    target[6 : 6 + size, 6 : 6 + size] = True
    return Sample(name, target.astype(np.uint8), target, name)


@pytest.fixture(scope="module")
def result():
    return study_suggestions(DoubtfulBackend(), [sample("a", 8), sample("b", 12)], SuggestionStudy())


def test_all_robots_annotate_all_images(result) -> None:
    assert sorted(result.robots.robot) == sorted(ROBOTS * 2)
    # 4 of 8 rows after the first click; 0.85 needs 7 of them, and 6 of 12 after the first; 11 are 0.92.
    assert (result.robots[result.robots.image == "a"]["noc@0.85"] == 4).all()
    assert (result.robots[result.robots.image == "b"]["noc@0.9"] == 6).all()
    assert not result.robots["failed@0.9"].any()


def test_true_doubts_are_right_and_others_are_vetoed(result) -> None:
    first = result.hits[(result.hits.ranking == "suggestions") & (result.hits.clicks == 1)]
    assert first.first_right.tolist() == [True, True]
    assert first.suggestions.tolist() == [2, 2]
    np.testing.assert_allclose(first.chance, 0.4)
    followed = result.robots[result.robots.robot == "suggestions"]
    assert (followed.suggested == followed["noc@0.9"] - 1).all()
    assert (followed.vetoed == 0).all()
    assert (followed.unaided == 0).all()
    assert result.hit_rate("suggestions", "first_right").mean == 1.0


def test_no_robot_depends_on_the_order_of_the_images(result) -> None:
    turned = study_suggestions(DoubtfulBackend(), [sample("b", 12), sample("a", 8)], SuggestionStudy())
    key = ["image", "robot"]
    pd.testing.assert_frame_equal(
        turned.robots.sort_values(key, ignore_index=True), result.robots.sort_values(key, ignore_index=True)
    )


def test_looks_end_when_the_last_threshold_is_reached(result) -> None:
    looks = result.hits[result.hits.ranking == "suggestions"].groupby("image").clicks.max()
    standard = result.robots[result.robots.robot == "standard"].set_index("image")["noc@0.9"]
    assert (looks == standard - 1).all()


def test_differences_are_taken_image_by_image(result) -> None:
    difference = result.difference("suggestions", "standard", 0.9)
    assert (difference.mean, difference.low, difference.high) == (0.0, 0.0, 0.0)
    assert result.noc("standard", 0.9).mean == pytest.approx((5 + 6) / 2)
