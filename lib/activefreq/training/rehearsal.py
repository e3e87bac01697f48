"""Sessions of training: the model clicked with on a view, up to the click whose answer it learns from.

What a session shows the network depends on what the network answered before: the target crop follows the last mask,
which may be too small or too large, and the mask that it is shown went through the refine layer and the rules of
merging. So training does not imitate sessions; it plays them.

Source: iterative training of RITM (Sofiiuk et al., 2022), which plays its rounds in one fixed crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from activefreq.clicks import Click
from activefreq.models.config import SessionConfig
from activefreq.models.interactive import InteractiveModel
from activefreq.session.state import PreparedImage, SessionState
from activefreq.session.step import closer_requests, step_together
from activefreq.training.clicking import ClickSamplingConfig, correcting_click, first_clicks


class Rehearsal(NamedTuple):
    """A session up to a click that is not answered yet.

    Attributes:
        image: The view.
        truth: (H, W) bool, what the annotator has in mind.
        state: Before the click.
        click: The last one.
    """

    image: PreparedImage
    truth: np.ndarray
    state: SessionState
    click: Click


def begin(image: PreparedImage, truth: np.ndarray, rng: np.random.Generator, config: ClickSamplingConfig) -> Rehearsal:
    """The first clicks; where there are several, all but the last one were made without an answer.

    Args:
        truth: (H, W) bool with at least one True.
    """
    *earlier, last = first_clicks(truth, rng, config)
    return Rehearsal(image, truth, replace(SessionState.start(image.shape), clicks=tuple(earlier)), last)


def go_on(
    model: InteractiveModel,
    rehearsals: Sequence[Rehearsal],
    generators: Sequence[np.random.Generator],
    config: ClickSamplingConfig,
    session: SessionConfig,
) -> list[Rehearsal]:
    """Answers each click, and clicks on what is wrong then; a session whose mask is perfect stays where it was.

    Args:
        model: In evaluation mode.
        generators: Of each session's next click.
    """
    states = step_together(model, [(one.image, one.state, one.click) for one in rehearsals], session)
    further = []
    for one, state, rng in zip(rehearsals, states, generators, strict=True):
        click = correcting_click(state.mask, one.truth, rng, config)
        further.append(one if click is None else one._replace(state=state, click=click))
    return further


def look_closer(model: InteractiveModel, rehearsals: Sequence[Rehearsal], session: SessionConfig) -> list[Rehearsal]:
    """Where the session would look at its first answer again, the rehearsals before that look; the others as they are.

    Args:
        model: In evaluation mode.
        rehearsals: Before their first answers.
    """
    requests = [(one.image, one.state, one.click) for one in rehearsals]
    further = list(rehearsals)
    for index, (_, state, _) in closer_requests(model, requests, session).items():
        further[index] = rehearsals[index]._replace(state=state)
    return further
