"""A model that is trained in a moment: a linear read-out of the features of a network that stays as it is.

Training a network anew after every choice takes so long that few seeds can be afforded, and few seeds tell little. A
logistic regression on fixed features, pixel by pixel, has its optimum in a fraction of a second, without any chance in
it; what differs between two seeds is the choice of the images alone. It answers no click: what an image costs is
counted with the network that the features come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from activefreq.acselect.ranking import measure_slice, score_image
from activefreq.data.samples import Sample
from activefreq.models.checkpoint import Checkpoint
from activefreq.models.coarse import to_size
from activefreq.models.inference import prepare_for_inference
from activefreq.models.interactive import InteractiveModel
from activefreq.models.prompts import PROMPT_CHANNELS
from activefreq.overlap import intersection_over_union
from activefreq.session.automatic import embed
from activefreq.session.resampling import resample
from activefreq.session.state import THRESHOLD, prepare_image
from activefreq.simulation.config import SimulationConfig
from activefreq.simulation.trainee import NetworkTrainee, Outlook

PENALTY = 3e-3
"""Weight of the squared coefficients, next to a mean cross-entropy."""


@dataclass(frozen=True, eq=False)
class Features:
    """What a network makes of one image.

    Attributes:
        maps: (C, h, w) float32: the decoder's map, and those of the encoder at its size.
        decoder: The first so many of them are the decoder's.
        share: (h, w) float32, the share of the object in each place.
    """

    maps: torch.Tensor
    decoder: int
    share: torch.Tensor


class ReadoutLearner:
    """Fits read-outs; remembers the features of every image.

    Args:
        start: The network of the features; is not changed.
        pool: Images whose features say what is much and what is little; no label of theirs is used.
        config: See `SimulationConfig`.
        device: Where the network computes.
    """

    def __init__(
        self, start: Checkpoint, pool: Sequence[Sample], config: SimulationConfig, device: torch.device
    ) -> None:
        self._model = prepare_for_inference(start.model, device)
        self._size = config.size
        self._annotator = NetworkTrainee(start.model, start.session, config, device)
        self._features: dict[str, Features] = {}
        self._clicks: dict[str, int] = {}
        maps = torch.stack([self._of(sample).maps for sample in pool])
        self._mean = maps.mean((0, 2, 3))
        self._deviation = maps.std((0, 2, 3)).clamp_min(1e-6)

    def beginner(self) -> ReadoutTrainee:
        return ReadoutTrainee(self, torch.zeros(len(self._mean) + 1))

    def train(self, labelled: Sequence[Sample], seed: int) -> ReadoutTrainee:
        """See `Learner`; nothing here is random."""
        inputs = (self.features(labelled) - self._mean[:, None, None]) / self._deviation[:, None, None]
        found = fit(inputs, torch.stack([self._of(sample).share for sample in labelled]))
        weights = found[:-1] / self._deviation
        return ReadoutTrainee(self, torch.cat([weights, found[-1:] - (weights @ self._mean)[None]]))

    def features(self, samples: Sequence[Sample]) -> torch.Tensor:
        """(N, C, h, w), as they are."""
        return torch.stack([self._of(sample).maps for sample in samples])

    def decoded(self, samples: Sequence[Sample]) -> torch.Tensor:
        """(N, F, h, w), the decoder's features as they are."""
        return torch.stack([self._of(sample).maps[: self._of(sample).decoder] for sample in samples])

    def annotation_clicks(self, sample: Sample) -> int:
        if sample.name not in self._clicks:
            (self._clicks[sample.name],) = self._annotator.annotation_clicks([sample])
        return self._clicks[sample.name]

    def _of(self, sample: Sample) -> Features:
        if sample.name not in self._features:
            self._features[sample.name] = _look(self._model, self._size, sample)
        return self._features[sample.name]


class ReadoutTrainee:
    """A read-out.

    Args:
        learner: Knows the features.
        weights: (C + 1,), of the features, and the constant.
    """

    def __init__(self, learner: ReadoutLearner, weights: torch.Tensor) -> None:
        self._learner = learner
        self._weights = weights

    def look_at(self, samples: Sequence[Sample]) -> Outlook:
        """Scores are those of the maps: a few pixels of the image are one of a map."""
        probabilities = self._probabilities(samples)
        scores = tuple(score_image([measure_slice(one)]) for one in probabilities[:, 0].numpy())
        return Outlook(scores, embed(self._learner.decoded(samples), probabilities).numpy())

    def annotation_clicks(self, samples: Sequence[Sample]) -> list[int]:
        return [self._learner.annotation_clicks(sample) for sample in samples]

    def test(self, samples: Sequence[Sample]) -> dict[str, float]:
        """The mean IoU of the answer to no click, "miou@0"."""
        ious = []
        for sample, probability in zip(samples, self._probabilities(samples), strict=True):
            shape = (sample.target.shape[0], sample.target.shape[1])
            mask = resample(probability[None], shape)[0, 0].numpy() > THRESHOLD
            ious.append(intersection_over_union(mask, sample.target))
        return {"miou@0": float(np.mean(ious))}

    def _probabilities(self, samples: Sequence[Sample]) -> torch.Tensor:
        """(N, 1, h, w), in [0, 1]."""
        logits = torch.einsum("nchw,c->nhw", self._learner.features(samples), self._weights[:-1]) + self._weights[-1]
        return torch.sigmoid(logits)[:, None]


def fit(inputs: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Logistic regression with a quadratic penalty.

    Args:
        inputs: (N, C, h, w).
        shares: (N, h, w), in [0, 1].

    Returns:
        (C + 1,), the coefficients and the constant, which bears no penalty.
    """
    rows = inputs.movedim(1, -1).flatten(0, -2)
    weights = torch.zeros(rows.shape[1] + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=25, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = rows @ weights[:-1] + weights[-1]
        loss = functional.binary_cross_entropy_with_logits(logits, shares.flatten())
        loss = loss + PENALTY * (weights[:-1] ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach()


def _look(model: InteractiveModel, size: int, sample: Sample) -> Features:
    image = prepare_image(sample.image)
    device = next(model.parameters()).device
    with torch.inference_mode():
        rgb = torch.from_numpy(np.array(image.rgb)).permute(2, 0, 1)[None]
        rgb = resample(rgb, (size, size)).to(device)
        prompt = torch.zeros(1, PROMPT_CHANNELS, size, size, device=device)
        feature = model.coarse(rgb, prompt).feature.float()
        maps = [feature]
        # A network without an encoder of its own has the decoder's features alone.
        if isinstance(encoder := getattr(model.backbone, "encoder", None), torch.nn.Module):
            # The last stage's single pixel or four say nothing of places.
            maps += [to_size(one.float(), feature.shape[2:]) for one in encoder(model.normalize(rgb), prompt)[:-1]]
        target = torch.from_numpy(sample.target.astype(np.float32))[None, None]
        share = to_size(resample(target, (size, size)), feature.shape[2:])[0, 0]
    # Copied out of inference mode, in which nothing can be differentiated.
    return Features(torch.cat(maps, dim=1)[0].cpu().clone(), feature.shape[1], share.clone())
