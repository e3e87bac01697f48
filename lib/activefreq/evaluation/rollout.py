"""Simulated annotation: users click, a backend answers, for many images and policies at the same time."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from activefreq.acselect.policies import AcSelectConfig, Policy
from activefreq.acselect.regions import mislabeled_regions
from activefreq.acselect.scores import ScoreConfig, measure_regions, region_score
from activefreq.clicks import Click
from activefreq.data.samples import Sample
from activefreq.errors import InputError
from activefreq.evaluation.backends import Backend, State
from activefreq.evaluation.metrics import surface_dice
from activefreq.evaluation.results import ClickRecord, ImageResult
from activefreq.overlap import intersection_over_union


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """How far an annotation goes and what is measured on the way.

    Attributes:
        max_clicks: Clicks after which an image is given up, at least 1.
        stop_iou: An image is finished once its IoU is at least this; None goes on until all clicks are placed
            or the mask is perfect.
        automatic_start: Begin with the model's own mask without clicks, and score it.
        nsd_at: Numbers of clicks after which the normalized surface Dice is measured; also after the last.
        nsd_tolerance: In pixels.
        score: Of the region score that is written down for each click, where a job has no `acselect`.
    """

    max_clicks: int = 20
    stop_iou: float | None = None
    automatic_start: bool = False
    nsd_at: tuple[int, ...] = (1, 2, 3, 5, 10, 20)
    nsd_tolerance: float = 2.0
    score: ScoreConfig = field(default_factory=ScoreConfig)

    def __post_init__(self) -> None:
        if self.max_clicks < 1:
            raise InputError(f"the most clicks must be at least 1, not {self.max_clicks}")
        if not 0 <= self.nsd_tolerance < math.inf:
            raise InputError(f"the tolerance of surface Dice must be at least 0 pixels, not {self.nsd_tolerance}")


class OpenImage:
    """An image that is being annotated, by any number of policies.

    Policies often agree on the first clicks, and an oracle's winning trial is its next click: answers are
    remembered, within a bound of memory.
    """

    _REMEMBERED_BYTES = 64 * 2**20

    def __init__(self, backend: Backend, sample: Sample) -> None:
        """Raises `InputError` if the image is none, or the target does not fit it, or is empty."""
        self.name, self.group, self.digest = sample.name, sample.group, sample.digest
        self.target = np.asarray(sample.target, bool)
        if self.target.shape != sample.image.shape[:2]:
            raise InputError(f"the label has shape {self.target.shape}, but the image {sample.image.shape[:2]}")
        if not self.target.any():
            raise InputError("the label is empty: there is nothing to click on")
        self.prepared: Any = backend.open(sample.name, sample.image)
        self._backend = backend
        self._automatic: State | None = None
        self._answers: OrderedDict[tuple[Click, ...], tuple[State, float]] = OrderedDict()
        self._limit = max(8, self._REMEMBERED_BYTES // (4 * self.target.size))

    def start(self, *, automatic: bool) -> State:
        """See `Backend.start`; the model is asked once for all policies."""
        if not automatic:
            return self._backend.start(self.prepared, automatic=False)
        if self._automatic is None:
            self._automatic = self._backend.start(self.prepared, automatic=True)
        return self._automatic

    def remembered(self, clicks: tuple[Click, ...]) -> tuple[State, float] | None:
        if clicks in self._answers:
            self._answers.move_to_end(clicks)
        return self._answers.get(clicks)

    def remember(self, clicks: tuple[Click, ...], state: State, seconds: float) -> None:
        self._answers[clicks] = (state, seconds)
        if len(self._answers) > self._limit:
            self._answers.popitem(last=False)


@dataclass(frozen=True)
class Job:
    """One policy (or user) on one image.

    Attributes:
        key: As in `ImageResult`.
        image: What is clicked on.
        policy: Who clicks.
        acselect: What an AcSelect policy ranks by: the clicked regions are measured and scored as it does.
    """

    key: str
    image: OpenImage
    policy: Policy
    acselect: AcSelectConfig | None = None


Request = tuple[OpenImage, State, Click]


class Answering:
    """Puts clicks of several images to a backend in batches, each question once."""

    def __init__(self, backend: Backend, *, batch_size: int) -> None:
        self._backend = backend
        self._batch_size = batch_size

    def answer(self, requests: Sequence[Request]) -> list[tuple[State, float]]:
        """For each request the state after the click, and the seconds that it took the backend."""
        found: dict[tuple[int, tuple[Click, ...]], tuple[State, float]] = {}
        questions: dict[tuple[int, tuple[Click, ...]], Request] = {}
        keys = []
        for image, state, click in requests:
            clicks = (*state.clicks, click)
            key = (id(image), clicks)
            keys.append(key)
            known = image.remembered(clicks)
            if known is not None:
                found[key] = known
            else:
                questions[key] = (image, state, click)
        pending = iter(questions.items())
        while batch := list(islice(pending, self._batch_size)):
            began = time.perf_counter()
            states = self._backend.answer([(image.prepared, state, click) for _, (image, state, click) in batch])
            seconds = (time.perf_counter() - began) / len(batch)
            for (key, (image, _, _)), state in zip(batch, states, strict=True):
                image.remember(key[1], state, seconds)
                found[key] = (state, seconds)
        return [found[key] for key in keys]


Observer = Callable[[Job, State], None]
"""Is told of every state, the one before the first click included."""


class _Annotation:
    """The course of one job."""

    def __init__(self, job: Job, start: State, config: RolloutConfig) -> None:
        self.job = job
        self.state = start
        self._config = config
        self._clicked = np.zeros_like(job.image.target)
        self._records: list[ClickRecord] = []
        self._start_iou = self._start_nsd = None
        if config.automatic_start:
            self._start_iou = intersection_over_union(start.mask, job.image.target)
            self._start_nsd = self._surface_dice()

    def next_click(self, answering: Answering) -> Click | None:
        """None when the annotation is over."""
        last_iou = self._records[-1].iou if self._records else self._start_iou
        stop = self._config.stop_iou
        if len(self._records) == self._config.max_clicks or (
            stop is not None and last_iou is not None and last_iou >= stop
        ):
            return None

        def trial(clicks: Sequence[Click]) -> list[np.ndarray]:
            answers = answering.answer([(self.job.image, self.state, click) for click in clicks])
            return [state.mask for state, _ in answers]

        return self.job.policy.next_click(
            self.state.probability, self.state.mask, self.job.image.target, self._clicked, trial=trial
        )

    def advance(self, click: Click, state: State, seconds: float) -> None:
        measures = self._clicked_region(click)
        self.state = state
        self._clicked[click.y, click.x] = True
        iou = intersection_over_union(state.mask, self.job.image.target)
        nsd = self._surface_dice() if len(self._records) + 1 in self._config.nsd_at else None
        self._records.append(ClickRecord(click.y, click.x, click.positive, iou, nsd, **measures, seconds=seconds))

    def result(self) -> ImageResult:
        if self._records and self._records[-1].nsd is None and self._config.nsd_at:
            self._records[-1] = dataclasses.replace(self._records[-1], nsd=self._surface_dice())
        return ImageResult(
            key=self.job.key,
            name=self.job.image.name,
            group=self.job.image.group,
            start_iou=self._start_iou,
            start_nsd=self._start_nsd,
            clicks=tuple(self._records),
            digest=self.job.image.digest,
        )

    def _surface_dice(self) -> float:
        return surface_dice(self.state.mask, self.job.image.target, tolerance=self._config.nsd_tolerance)

    def _clicked_region(self, click: Click) -> dict[str, float | None]:
        own = self.job.acselect
        connectivity = 8 if own is None else own.connectivity
        regions = mislabeled_regions(self.state.mask, self.job.image.target, connectivity=connectivity)
        number = int(regions.labels[click.y, click.x]) - 1
        if number < 0:
            return dict.fromkeys(("mpe", "ape", "rgu", "area", "score"))
        scores = measure_regions(self.state.probability, regions)
        return {
            "mpe": float(scores.mpe[number]),
            "ape": float(scores.ape[number]),
            "rgu": float(scores.deviation[number]),
            "area": float(scores.area[number]),
            "score": float(region_score(scores, own or self._config.score)[number]),
        }


def roll_out(
    backend: Backend,
    jobs: Iterable[Job],
    config: RolloutConfig,
    *,
    batch_size: int = 8,
    observer: Observer | None = None,
) -> Iterator[ImageResult]:
    """Annotates images, `batch_size` of the jobs at a time.

    Args:
        backend: Answers the clicks.
        jobs: Taken one by one, as places become free; jobs on one image should follow each other and share
            its `OpenImage`.
        config: When to stop and what to measure.
        batch_size: Jobs at the same time, and the most clicks in one question to the backend; at least 1.
        observer: See `Observer`.

    Yields:
        The result of each job as soon as it is finished: the order depends on the batch size, the results do
        not.
    """
    answering = Answering(backend, batch_size=batch_size)
    waiting = iter(jobs)
    active: list[_Annotation] = []
    while True:
        for job in islice(waiting, batch_size - len(active)):
            start = job.image.start(automatic=config.automatic_start)
            active.append(_Annotation(job, start, config))
            if observer:
                observer(job, start)
        if not active:
            return
        going: list[tuple[_Annotation, Click]] = []
        for annotation in active:
            click = annotation.next_click(answering)
            if click is None:
                yield annotation.result()
            else:
                going.append((annotation, click))
        answers = answering.answer([(one.job.image, one.state, click) for one, click in going])
        for (annotation, click), (state, seconds) in zip(going, answers, strict=True):
            annotation.advance(click, state, seconds)
            if observer:
                observer(annotation.job, state)
        active = [annotation for annotation, _ in going]
