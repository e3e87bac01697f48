"""Where a person should look next, told without the truth.

The paper's AcSelect reads the ground truth, which nobody has while annotating. Here the candidates come from the
probabilities alone: connected pixels that the model was not sure about. Inside the mask they may be false positives,
which a negative click would mend, outside it false negatives, which a positive click would mend. They are scored like
mislabeled regions (paper section 3.1, eqs. 1-6).

The sign of a suggestion is the one that would change the mask. By a calibrated model it is wrong more often than
right, because a pixel on whose label the model would not bet is labelled the other way: a suggestion is a question,
and its `chance` says how likely the answer is yes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from activefreq.acselect.placement import PLACEMENTS, place_click
from activefreq.acselect.regions import Regions, label_regions
from activefreq.acselect.scores import ScoreConfig, measure_regions, region_score
from activefreq.clicks import Click
from activefreq.errors import InputError


@dataclass(frozen=True, kw_only=True)
class SuggestionConfig(ScoreConfig):
    """Options of the suggestions.

    Attributes:
        least_chance: A pixel is a candidate if the model gives its label a probability of at least this of being wrong;
            above 0, at most 0.5 (which, with a mask of the pixels above 0.5, finds next to nothing).
        limit: The most suggestions.
        connectivity: 8 joins the pixels of a region across corners too, 4 only across edges.
        placement: Where in the region the suggested click lies, see `place_click`.
    """

    least_chance: float = 0.2
    limit: int = 5
    connectivity: int = 8
    placement: str = "uncertain"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.least_chance <= 0.5:
            raise InputError(f"the least chance of a suggestion must be in (0, 0.5], not {self.least_chance!r}")
        if self.limit < 1:
            raise InputError(f"at least 1 suggestion must be allowed, not {self.limit!r}")
        if self.connectivity not in (4, 8):
            raise InputError(f"connectivity must be 4 or 8, not {self.connectivity!r}")
        if self.placement not in PLACEMENTS:
            raise InputError(f"placement must be one of {', '.join(PLACEMENTS)}, not {self.placement!r}")


@dataclass(frozen=True, eq=False)
class Suggestion:
    """A region that may be mislabeled.

    Attributes:
        click: Would mend the region, if it is wrong: positive for a region outside the mask.
        score: Region score, the higher the sooner to be looked at.
        chance: Mean probability of its pixels, by the model, of being mislabeled.
        mpe: Maximum pixel entropy (eq. 1), nats.
        ape: Average pixel entropy (eq. 2), nats.
        deviation: |p* - p_mean| of the region (eqs. 3-5), in [0, 1].
        area: Pixels.
        confirmed: A click in the region has already said that its label is right there.
        box: (top, left, bottom, right) of the region, the last two exclusive.
        mask: (bottom - top, right - left) bool, the region within its box.
    """

    click: Click
    score: float
    chance: float
    mpe: float
    ape: float
    deviation: float
    area: int
    confirmed: bool
    box: tuple[int, int, int, int]
    mask: np.ndarray


def candidate_regions(
    probability: np.ndarray, mask: np.ndarray, *, least_chance: float = 0.2, connectivity: int = 8
) -> Regions:
    """Connected pixels of one label whose probability of being mislabeled is at least `least_chance`.

    Args:
        probability: (H, W) foreground probability in [0, 1].
        mask: (H, W) bool, the labels in question; need not be where the probability is above 0.5.
        least_chance: See `SuggestionConfig`.
        connectivity: 8 or 4.

    Raises:
        InputError: The arrays differ in shape, or a probability is NaN or outside [0, 1].
    """
    probability, mask = np.asarray(probability), np.asarray(mask, bool)
    if probability.shape != mask.shape:
        raise InputError(f"the probability has shape {probability.shape}, but the mask {mask.shape}")
    if probability.size and not (probability.min() >= 0.0 and probability.max() <= 1.0):
        raise InputError("probabilities must lie in [0, 1] and not be NaN")
    return label_regions(
        ~mask & (probability >= least_chance),
        mask & (probability <= 1.0 - least_chance),
        connectivity=connectivity,
    )


def suggest_regions(
    probability: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    clicked: np.ndarray | None = None,
    config: SuggestionConfig = SuggestionConfig(),
) -> list[Suggestion]:
    """The regions that deserve the next look, best first; in time linear in the pixels.

    Regions in which a click has confirmed the label come after all others. Ties go to the region with the lower
    number (`Regions`).

    Args:
        probability: (H, W) foreground probability in [0, 1].
        mask: (H, W) bool, what the person sees; None for where the probability is above 0.5. With an empty mask and
            the model's answer to no click, the suggestions say where to begin.
        clicked: (H, W) bool, True where a click was placed; None for nowhere. No suggested click lies there.
        config: See `SuggestionConfig`.

    Returns:
        At most `config.limit` suggestions; none if the model is sure of everything.

    Raises:
        InputError: The arrays differ in shape, or a probability is NaN or outside [0, 1].
    """
    probability = np.asarray(probability)
    mask = probability > 0.5 if mask is None else np.asarray(mask, bool)
    clicked = np.zeros(probability.shape, bool) if clicked is None else np.asarray(clicked, bool)
    if clicked.shape != probability.shape:
        raise InputError(f"the probability has shape {probability.shape}, but the clicked pixels {clicked.shape}")
    regions = candidate_regions(probability, mask, least_chance=config.least_chance, connectivity=config.connectivity)
    scores = measure_regions(probability, regions)
    ranks = region_score(scores, config)
    confirmed = np.isin(np.arange(len(regions)) + 1, regions.labels[clicked])
    clickable = np.flatnonzero(regions.clickable(clicked))
    order = clickable[np.lexsort((clickable, -ranks[clickable], confirmed[clickable]))][: config.limit]
    return [
        Suggestion(
            click=place_click(regions, int(number), probability, clicked, placement=config.placement),
            score=float(ranks[number]),
            chance=float(1.0 - scores.wrongness[number]),
            mpe=float(scores.mpe[number]),
            ape=float(scores.ape[number]),
            deviation=float(scores.deviation[number]),
            area=int(regions.areas[number]),
            confirmed=bool(confirmed[number]),
            box=_box(regions, int(number)),
            mask=regions.mask(int(number))[0],
        )
        for number in order
    ]


def _box(regions: Regions, number: int) -> tuple[int, int, int, int]:
    rows, columns = regions.boxes[number]
    return rows.start, columns.start, rows.stop, columns.stop
