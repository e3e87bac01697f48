"""The model of a round: trained on what is labelled so far, always from the same start, and what it is asked."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch

from activefreq.acselect.policies import StandardPolicy
from activefreq.acselect.ranking import ImageScore, measure_slice, score_image
from activefreq.data.samples import Sample
from activefreq.evaluation.backends import Backend
from activefreq.evaluation.local import LocalBackend
from activefreq.evaluation.metrics import carried_on, number_of_clicks
from activefreq.evaluation.results import ImageResult
from activefreq.evaluation.rollout import Job, OpenImage, RolloutConfig, roll_out
from activefreq.models.checkpoint import Checkpoint
from activefreq.models.config import SessionConfig
from activefreq.models.inference import prepare_for_inference
from activefreq.models.interactive import InteractiveModel
from activefreq.overlap import intersection_over_union
from activefreq.session.automatic import automatic_answer, automatic_probability
from activefreq.session.state import THRESHOLD, prepare_image
from activefreq.simulation.config import SimulationConfig
from activefreq.training.batches import Mixture
from activefreq.training.config import OptimizerConfig, StageConfig, TrainingConfig
from activefreq.training.engine import TrainingRun


@dataclass(frozen=True, eq=False)
class Outlook:
    """What a model says of N images without a click.

    Attributes:
        scores: N.
        embeddings: (N, D) float32.
    """

    scores: tuple[ImageScore, ...]
    embeddings: np.ndarray


class Trainee(Protocol):
    """What a strategy and its judge ask of the model of a round."""

    def look_at(self, samples: Sequence[Sample]) -> Outlook:
        """What strategies go by: the scores and embeddings that the app would have."""

    def annotation_clicks(self, samples: Sequence[Sample]) -> list[int]:
        """Clicks that the annotator needs for each image, as many as are allowed where the IoU is not reached."""

    def test(self, samples: Sequence[Sample]) -> dict[str, float]:
        """Figures on images that are never labelled; "miou@0", of the answer to no click, at least."""


class Learner(Protocol):
    """Makes the models of the rounds."""

    def beginner(self) -> Trainee:
        """The start, with which the first images are labelled."""

    def train(self, labelled: Sequence[Sample], seed: int) -> Trainee:
        """A model trained on the labelled images; their order must not depend on the strategy.

        Args:
            labelled: Samples, one or more.
            seed: Of everything random in the training.
        """


class NetworkTrainee:
    """A network that answers clicks, and scores images without any.

    Args:
        model: Is not changed.
        session: How it is clicked with.
        config: See `SimulationConfig`.
        device: Where it computes.
    """

    def __init__(
        self, model: InteractiveModel, session: SessionConfig, config: SimulationConfig, device: torch.device
    ) -> None:
        self._config = config
        self._model = prepare_for_inference(model, device)
        self._backend = cast(Backend, LocalBackend(self._model, session))

    def probability(self, image: np.ndarray) -> np.ndarray:
        """(H, W) float32, the answer to no click."""
        return automatic_probability(self._model, prepare_image(image))

    def look_at(self, samples: Sequence[Sample]) -> Outlook:
        answers = [automatic_answer(self._model, prepare_image(sample.image)) for sample in samples]
        return Outlook(
            tuple(score_image([measure_slice(answer.probability)]) for answer in answers),
            np.stack([answer.embedding for answer in answers]),
        )

    def annotation_clicks(self, samples: Sequence[Sample]) -> list[int]:
        rules = RolloutConfig(max_clicks=self._config.max_clicks, stop_iou=self._config.target_iou, nsd_at=())
        return [len(result.clicks) for result in self._annotate(samples, rules)]

    def test(self, samples: Sequence[Sample]) -> dict[str, float]:
        """Figures on images that are never labelled.

        Returns:
            "miou@0" of the answer to no click; "miou@K" after K = 1 to `test_clicks` clicks of the standard clicker;
            "miou" their mean over K; "noc@80" and "noc@85" where at most `test_clicks` count.
        """
        clicks = self._config.test_clicks
        rules = RolloutConfig(max_clicks=clicks, nsd_at=())
        ious = [result.ious for result in self._annotate(samples, rules)]
        curves = np.array([carried_on(one, length=clicks) for one in ious])
        figures = {
            "miou@0": float(
                np.mean([intersection_over_union(self.probability(s.image) > THRESHOLD, s.target) for s in samples])
            )
        }
        figures |= {f"miou@{k}": float(column.mean()) for k, column in enumerate(curves.T, start=1)}
        figures["miou"] = float(curves.mean())
        for percent in (80, 85):
            found = [number_of_clicks(one, percent / 100, max_clicks=clicks) for one in ious]
            figures[f"noc@{percent}"] = float(np.mean([clicks if n is None else n for n in found]))
        return figures

    def _annotate(self, samples: Sequence[Sample], rules: RolloutConfig) -> list[ImageResult]:
        jobs = (Job(str(number), OpenImage(self._backend, one), StandardPolicy()) for number, one in enumerate(samples))
        return sorted(roll_out(self._backend, jobs, rules), key=lambda result: int(result.key))


class NetworkLearner:
    """Trains copies of a network.

    Args:
        start: What every training begins with; is not changed.
        config: See `SimulationConfig`.
        device: Where to compute.
    """

    def __init__(self, start: Checkpoint, config: SimulationConfig, device: torch.device) -> None:
        self._start = start
        self._config = config
        self._device = device

    def beginner(self) -> NetworkTrainee:
        return NetworkTrainee(self._start.model, self._start.session, self._config, self._device)

    def train(self, labelled: Sequence[Sample], seed: int) -> NetworkTrainee:
        """See `Learner`; `seed` is that of batches, augmentation and clicks."""
        model = copy.deepcopy(self._start.model)
        config = self._config
        plan = TrainingConfig(
            model=model.config,
            stages=(StageConfig(config.steps, config.size),),
            batch_size=config.batch_size,
            seed=seed,
            optimizer=OptimizerConfig(
                learning_rate=config.learning_rate,
                warmup=min(10, config.steps),
                average=1 - 1 / max(5, config.steps / 5),
            ),
            validate_every=0,
            save_every=0,
            frozen_statistics=True,
        )
        run = TrainingRun(model, plan, Mixture([labelled]), device=self._device)
        run.run()
        return NetworkTrainee(run.published, self._start.session, config, self._device)


def with_input_of(start: Checkpoint, size: int) -> Checkpoint:
    """The same weights for a network that sees squares of `size` pixels; disks of clicks keep theirs."""
    model = copy.deepcopy(start.model)
    model.config = dataclasses.replace(model.config, input_size=size, refine_size=size)
    return dataclasses.replace(start, model=model)
