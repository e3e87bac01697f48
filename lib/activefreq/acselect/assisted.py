"""A simulated person who follows the suggestions: what they are worth, measured in clicks."""

from __future__ import annotations

import numpy as np

from activefreq.acselect.clicker import standard_click
from activefreq.acselect.policies import Trial
from activefreq.acselect.suggestions import Suggestion, SuggestionConfig, suggest_regions
from activefreq.clicks import Click

ENTROPY_ONLY = SuggestionConfig(alpha=0.0, beta=1.0, gamma=0.0, size="none")
"""Suggests the region with the highest mean entropy, whatever its size: the baseline."""


def is_right(suggestion: Suggestion, prediction: np.ndarray, target: np.ndarray) -> bool:
    """Whether the suggested pixel is truly mislabeled and the suggested sign would mend it.

    Args:
        prediction: (H, W) bool, what was suggested about.
        target: (H, W) bool, the truth.
    """
    click = suggestion.click
    return bool(prediction[click.y, click.x] != target[click.y, click.x] == click.positive)


class AssistedPolicy:
    """Clicks where the best suggestion is that is right: the truth only vetoes.

    A person who finds every suggestion wrong looks for an error without help, as the standard clicker does; so does one
    who begins. Make one policy per image.

    Args:
        config: Of the suggestions.

    Attributes:
        suggested: Clicks that followed a suggestion.
        vetoed: Suggestions that were seen and wrong.
        unaided: Clicks after the first one for which no suggestion was right.
    """

    def __init__(self, config: SuggestionConfig = SuggestionConfig()) -> None:
        self._config = config
        self.suggested = self.vetoed = self.unaided = 0

    def next_click(
        self,
        probability: np.ndarray,
        prediction: np.ndarray,
        target: np.ndarray,
        clicked: np.ndarray,
        *,
        trial: Trial | None = None,
    ) -> Click | None:
        if not prediction.any() and not clicked.any():
            return standard_click(prediction, target, clicked)
        if not (prediction != target)[~clicked].any():
            return None
        for suggestion in suggest_regions(probability, mask=prediction, clicked=clicked, config=self._config):
            if is_right(suggestion, prediction, target):
                self.suggested += 1
                return suggestion.click
            self.vetoed += 1
        self.unaided += 1
        return standard_click(prediction, target, clicked)
