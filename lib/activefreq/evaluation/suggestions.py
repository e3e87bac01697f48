"""What suggestions without the truth are worth, on images whose truth is known.

Two questions: how often is the first suggestion right, and how many clicks does someone need who follows them, against
others who know the truth (standard clicker, random errors) and against suggestions by entropy alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from activefreq.acselect.assisted import ENTROPY_ONLY, AssistedPolicy, is_right
from activefreq.acselect.policies import Policy, RandomPolicy, StandardPolicy
from activefreq.acselect.suggestions import SuggestionConfig, suggest_regions
from activefreq.data.samples import Sample
from activefreq.errors import InputError
from activefreq.evaluation.backends import Backend, State
from activefreq.evaluation.bootstrap import Interval, bootstrap_mean
from activefreq.evaluation.metrics import number_of_clicks
from activefreq.evaluation.plan import seed_of
from activefreq.evaluation.rollout import Job, OpenImage, RolloutConfig, roll_out
from activefreq.overlap import intersection_over_union

ROBOTS = ("standard", "random", "suggestions", "entropy-suggestions")


@dataclass(frozen=True, kw_only=True)
class SuggestionStudy:
    """The rules.

    Attributes:
        max_clicks: Of a robot on an image.
        thresholds: IoU levels of NoC, ascending; a robot stops at the last.
        suggestions: What is measured.
        seed: Of the random robot; every image has a stream of its own.
    """

    max_clicks: int = 20
    thresholds: tuple[float, ...] = (0.8, 0.85, 0.9)
    suggestions: SuggestionConfig = field(default_factory=SuggestionConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"the seed must be at least 0, not {self.seed}")


@dataclass(frozen=True)
class StudyResult:
    """Two tables.

    Attributes:
        robots: A row per image and robot: image, group, robot, noc@T for every threshold T (the most clicks if it was
            never reached), failed@T, and for those who follow suggestions the clicks that were suggested, the
            suggestions vetoed, and the clicks without help.
        hits: A row per image, number of clicks of the standard robot before, and ranking ("suggestions" or
            "entropy-suggestions"), as long as the last threshold was not reached: whether the first suggestion was
            right, whether one of them all was, and the chance that the model gave to the first.
    """

    robots: pd.DataFrame
    hits: pd.DataFrame

    def noc(self, robot: str, threshold: float) -> Interval:
        """Mean NoC of a robot with its interval over groups."""
        rows = self.robots[self.robots.robot == robot]
        return bootstrap_mean(rows[f"noc@{threshold:g}"].to_numpy(), rows.group.tolist())

    def difference(self, robot: str, other: str, threshold: float) -> Interval:
        """NoC of a robot less that of another on the same images, with its interval."""
        one, two = (self.robots[self.robots.robot == name].sort_values("image") for name in (robot, other))
        values = one[f"noc@{threshold:g}"].to_numpy() - two[f"noc@{threshold:g}"].to_numpy()
        return bootstrap_mean(values, one.group.tolist())

    def hit_rate(self, ranking: str, column: str) -> Interval:
        """Share of the looks at which `column` ("first_right" or "any_right") held, with its interval."""
        rows = self.hits[self.hits.ranking == ranking]
        return bootstrap_mean(rows[column].to_numpy(float), rows.group.tolist())


def study_suggestions(
    backend: Backend, samples: Iterable[Sample], study: SuggestionStudy, *, batch_size: int = 8
) -> StudyResult:
    """Lets all robots annotate all samples, and looks at the suggestions on the way of the standard one.

    Raises:
        InputError: A sample cannot be used.
    """
    robots: list[dict[str, object]] = []
    hits: list[dict[str, object]] = []
    rankings = {"suggestions": study.suggestions, "entropy-suggestions": ENTROPY_ONLY}

    def look(job: Job, state: State) -> None:
        target = job.image.target
        if job.key != "standard" or not state.clicks or len(state.clicks) >= study.max_clicks:
            return
        if intersection_over_union(state.mask, target) >= study.thresholds[-1]:
            return
        clicked = np.zeros(target.shape, bool)
        for click in state.clicks:
            clicked[click.y, click.x] = True
        for ranking, config in rankings.items():
            found = suggest_regions(state.probability, mask=state.mask, clicked=clicked, config=config)
            right = [is_right(one, state.mask, target) for one in found]
            hits.append(
                {
                    "image": job.image.name,
                    "group": job.image.group,
                    "clicks": len(state.clicks),
                    "ranking": ranking,
                    "suggestions": len(found),
                    "first_right": bool(right and right[0]),
                    "any_right": any(right),
                    "chance": found[0].chance if found else 0.0,
                }
            )

    policies: dict[tuple[str, str], Policy] = {}
    jobs = _jobs(backend, samples, study, policies)
    config = RolloutConfig(max_clicks=study.max_clicks, stop_iou=study.thresholds[-1], nsd_at=())
    for result in roll_out(backend, jobs, config, batch_size=batch_size, observer=look):
        row: dict[str, object] = {"image": result.name, "group": result.group, "robot": result.key}
        for threshold in study.thresholds:
            ious = [click.iou for click in result.clicks]
            clicks = number_of_clicks(ious, threshold, max_clicks=study.max_clicks)
            row[f"noc@{threshold:g}"] = study.max_clicks if clicks is None else clicks
            row[f"failed@{threshold:g}"] = clicks is None
        policy = policies.pop((result.name, result.key))
        if isinstance(policy, AssistedPolicy):
            row |= {"suggested": policy.suggested, "vetoed": policy.vetoed, "unaided": policy.unaided}
        robots.append(row)
    return StudyResult(pd.DataFrame(robots), pd.DataFrame(hits, columns=_HITS))


_HITS: Sequence[str] = (
    "image",
    "group",
    "clicks",
    "ranking",
    "suggestions",
    "first_right",
    "any_right",
    "chance",
)


def _jobs(
    backend: Backend, samples: Iterable[Sample], study: SuggestionStudy, policies: dict[tuple[str, str], Policy]
) -> Iterator[Job]:
    """The jobs of all robots, image by image; `policies` is told of each robot."""
    for sample in samples:
        image = OpenImage(backend, sample)
        made: tuple[Policy, ...] = (
            StandardPolicy(),
            RandomPolicy((study.seed, seed_of(sample.name))),
            AssistedPolicy(study.suggestions),
            AssistedPolicy(ENTROPY_ONLY),
        )
        for robot, policy in zip(ROBOTS, made, strict=True):
            policies[sample.name, robot] = policy
            yield Job(robot, image, policy)
