"""Which image is annotated next: scores of whole images, and of volumes by their slices, from probabilities alone.

A score summed over pixels favours large images, and one averaged over all pixels favours large objects, whose outlines
are long. So what may be wrong is set against the object's own expected size: the scores here do not change when an
image, its object and its probabilities are enlarged, or when certain background is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from activefreq.acselect.entropy import binary_entropy
from activefreq.acselect.scores import ScoreConfig, measure_regions, region_score
from activefreq.acselect.suggestions import candidate_regions
from activefreq.errors import InputError


@dataclass(frozen=True, kw_only=True)
class RankingConfig(ScoreConfig):
    """Options of the AcSelect score of an image.

    The region score's size term is not used: a region counts by the pixels of it that are expected to be wrong.

    Attributes:
        least_chance: As of `SuggestionConfig`: pixels whose label is less likely to be wrong are left out.
    """

    size: str = "none"
    least_chance: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size != "none":
            raise InputError(f"an image's regions are weighted by their expected errors, not by size {self.size!r}")
        if not 0.0 < self.least_chance <= 0.5:
            raise InputError(f"the least chance must be in (0, 0.5], not {self.least_chance!r}")


@dataclass(frozen=True)
class SliceMeasure:
    """What the scores of a 2D image, or of one slice of a volume, are made of.

    Attributes:
        doubt: Expected number of mislabeled pixels in doubtful regions, each region weighted by its normalized region
            score, in [0, 1].
        size: Expected number of pixels of the predicted and the true object together.
        entropy: Mean pixel entropy, nats.
        foreground: Share of pixels in the predicted object.
    """

    doubt: float
    size: float
    entropy: float
    foreground: float

    @property
    def score(self) -> float:
        """AcSelect score in [0, 1]: the share of the object in doubt."""
        return self.doubt / self.size if self.size else 0.0


@dataclass(frozen=True)
class ImageScore:
    """The scores of an image or volume.

    Attributes:
        acselect: Share of the object in doubt, in [0, 1].
        entropy: Mean pixel entropy, nats.
        foreground: Share of pixels in the predicted object.
        slice: The slice with most pixels in doubt; 0 for a 2D image.
    """

    acselect: float
    entropy: float
    foreground: float
    slice: int


def measure_slice(probability: np.ndarray, config: RankingConfig = RankingConfig()) -> SliceMeasure:
    """Measures one image or slice, in time linear in its pixels.

    Args:
        probability: (H, W) foreground probability in [0, 1] without any click.
        config: See `RankingConfig`.

    Raises:
        InputError: The array is not (H, W) with at least one pixel, or a probability is NaN or outside [0, 1].
    """
    p = np.asarray(probability, np.float64)
    if p.ndim != 2 or p.size == 0:
        raise InputError(f"a probability of shape (H, W) is needed, not {p.shape}")
    entropy = binary_entropy(p)
    mask = p > 0.5
    regions = candidate_regions(p, mask, least_chance=config.least_chance)
    scores = measure_regions(p, regions, entropy=entropy)
    wrong = (1.0 - scores.wrongness) * scores.area
    most = (config.alpha + config.beta) * np.log(2.0) + config.gamma
    weight = region_score(scores, config) / most if most else np.ones(len(regions))
    return SliceMeasure(
        doubt=float(np.sum(weight * wrong)),
        size=float(np.count_nonzero(mask) + p[~mask].sum()),
        entropy=float(entropy.mean()),
        foreground=float(mask.mean()),
    )


def score_image(slices: Sequence[SliceMeasure], numbers: Sequence[int] | None = None) -> ImageScore:
    """Puts the slices of a volume (or the one of a 2D image) together.

    Doubt and size are summed before they are divided: a slice counts as much as there is of the object in it, and
    neither the number of slices nor a slice with a speck of the object makes a score.

    Args:
        slices: Of one image, at least one; equally spaced ones will do.
        numbers: Index of each slice; None for 0, 1, 2, ...

    Raises:
        InputError: There is no slice, or not one number for each.
    """
    numbers = range(len(slices)) if numbers is None else numbers
    if not slices or len(numbers) != len(slices):
        raise InputError(f"an image needs slices and a number for each: {len(slices)} and {len(numbers)} given")
    size = sum(one.size for one in slices)
    return ImageScore(
        acselect=sum(one.doubt for one in slices) / size if size else 0.0,
        entropy=float(np.mean([one.entropy for one in slices])),
        foreground=float(np.mean([one.foreground for one in slices])),
        slice=int(numbers[int(np.argmax([one.doubt for one in slices]))]),
    )


def spread_slices(count: int, limit: int) -> np.ndarray:
    """Indices of at most `limit` of `count` slices, equally spread, the middles of equal stretches."""
    if count < 1 or limit < 1:
        raise InputError(f"at least one slice is needed, not {limit} of {count}")
    if count <= limit:
        return np.arange(count)
    return np.floor((np.arange(limit) + 0.5) * count / limit).astype(int)
