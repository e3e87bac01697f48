"""Pictures of annotations: image, target, then masks and clicks in sequence, as in the paper's Figs. 7 and 8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from activefreq.clicks import Click
from activefreq.evaluation.backends import Backend, State
from activefreq.evaluation.plan import Plan
from activefreq.evaluation.rollout import Job, OpenImage, roll_out
from activefreq.evaluation.runner import Source
from activefreq.files.atomic import atomic_write
from activefreq.overlap import intersection_over_union
from activefreq.session.intensity import to_rgb

_MASK, _OUTLINE = (0.1, 0.9, 0.3, 0.35), "white"
_POSITIVE, _NEGATIVE = "lime", "red"


@dataclass(frozen=True, eq=False)
class Course:
    """What a person saw and did: masks after 0, 1, 2, ... clicks, and all the clicks."""

    label: str
    masks: tuple[np.ndarray, ...]
    clicks: tuple[Click, ...]


def write_panels(
    plan: Plan, source: Source, backend: Backend, names: Sequence[str], folder: Path, *, steps: int = 5
) -> list[Path]:
    """Annotates some images again and draws a panel of each, a row for each entrant.

    Args:
        plan: As it was evaluated.
        source: Has these images.
        backend: Answers the clicks.
        names: The images.
        folder: For the PNG files; made if need be.
        steps: The most clicks that are shown.

    Returns:
        The files, named after the images.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places = {name: index for index, name in enumerate(source.names)}
    paths: list[Path] = []
    for name in names:
        sample = source[places[name]]
        image = OpenImage(backend, sample)
        courses = _courses(plan, backend, image)
        figure = panel(to_rgb(sample.image), image.target, courses, steps=steps)
        path = _unused(folder, "".join(c if c.isalnum() or c in "-_." else "_" for c in name), paths)
        with atomic_write(path) as temporary:
            FigureCanvasAgg(figure).print_png(str(temporary))
        paths.append(path)
    return paths


def _unused(folder: Path, stem: str, taken: Sequence[Path]) -> Path:
    """A file that is none of these: "a b" and "a_b" are named alike."""
    path, number = folder / f"{stem}.png", 2
    while path in taken:
        path, number = folder / f"{stem}-{number}.png", number + 1
    return path


def _courses(plan: Plan, backend: Backend, image: OpenImage) -> list[Course]:
    states: dict[str, list[State]] = {entrant.key: [] for entrant in plan.entrants}
    jobs = [Job(entrant.key, image, plan.person(entrant, image.name)) for entrant in plan.entrants]
    for _ in roll_out(backend, jobs, plan.rollout, observer=lambda job, state: states[job.key].append(state)):
        pass
    return [
        Course(
            entrant.label,
            tuple(state.mask for state in states[entrant.key]),
            states[entrant.key][-1].clicks,
        )
        for entrant in plan.entrants
    ]


def panel(rgb: np.ndarray, target: np.ndarray, courses: Sequence[Course], *, steps: int) -> Figure:
    """Draws one image's courses.

    Args:
        rgb: (H, W, 3) float in [0, 1].
        target: (H, W) bool.
        courses: A row each: image, target, then the mask after each click with the clicks so far.
        steps: The most clicks that are shown.
    """
    columns = 2 + min(steps, max(len(course.clicks) for course in courses))
    columns = max(columns, 3)
    figure = Figure(figsize=(1.9 * columns, 2.1 * len(courses)), dpi=120, layout="constrained")
    grid = figure.subplots(len(courses), columns, squeeze=False)
    for row, course in zip(grid, courses, strict=True):
        for axes in row:
            axes.set_axis_off()
        row[0].imshow(rgb)
        row[0].set_title(course.label, fontsize=8)
        _overlay(row[1], rgb, target)
        row[1].set_title("target", fontsize=8)
        for number, axes in enumerate(row[2:], start=1):
            if number > len(course.clicks):
                continue
            mask = course.masks[number]
            _overlay(axes, rgb, mask)
            for click in course.clicks[:number]:
                colour = _POSITIVE if click.positive else _NEGATIVE
                axes.plot(click.x, click.y, "o", color=colour, markeredgecolor="black", markersize=5)
            axes.set_title(
                f"{number} click{'s' if number > 1 else ''}: {intersection_over_union(mask, target):.3f}", fontsize=8
            )
    return figure


def _overlay(axes: Axes, rgb: np.ndarray, mask: np.ndarray) -> None:
    axes.imshow(rgb)
    if mask.any():
        colours = np.zeros((*mask.shape, 4))
        colours[mask] = _MASK
        axes.imshow(colours)
        if not mask.all() and min(mask.shape) > 1:
            axes.contour(mask, levels=[0.5], colors=_OUTLINE, linewidths=0.7)
