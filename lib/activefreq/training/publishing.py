"""The checkpoints of a training, and the card that goes with each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activefreq.data.parts import Part
from activefreq.files.atomic import atomic_write
from activefreq.models.checkpoint import Checkpoint, save_checkpoint
from activefreq.training.config import TrainingConfig, to_plain
from activefreq.training.datasets import Placement
from activefreq.training.engine import Progress, TrainingRun

PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Origin:
    """What a checkpoint is told about its training beside the configuration.

    Attributes:
        placements: The samples and their parts.
        start: What the weights began as, in words.
        provenance: See `provenance.provenance`.
    """

    placements: Sequence[Placement]
    start: str
    provenance: Mapping[str, Any]

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Samples of each part by data set."""
        found = Counter((row.data_set, row.part) for row in self.placements)
        return {
            name: {part: found[name, part] for part in PARTS}
            for name in dict.fromkeys(row.data_set for row in self.placements)
        }


class CheckpointWriter:
    """Writes last.pt after every validation and at the end, and best.pt after the best one, each with a card (.md).

    Args:
        half: Store weights as float16.
    """

    def __init__(self, run: TrainingRun, folder: Path, origin: Origin, *, half: bool = False) -> None:
        self._run = run
        self._folder = folder
        self._origin = origin
        self._half = half

    def __call__(self, progress: Progress) -> None:
        if progress.validation is not None or progress.step == self._run.config.steps:
            self._write("last", progress)
            if progress.best:
                self._write("best", progress)

    def _write(self, name: str, progress: Progress) -> None:
        info = checkpoint_info(self._run.config, self._origin, progress)
        checkpoint = Checkpoint(self._run.published, self._run.session, info)
        save_checkpoint(self._folder / f"{name}.pt", checkpoint, half=self._half)
        parameters = sum(parameter.numel() for parameter in self._run.published.parameters())
        with atomic_write(self._folder / f"{name}.md") as temporary:
            temporary.write_text(model_card(info, parameters=parameters))


def checkpoint_info(config: TrainingConfig, origin: Origin, progress: Progress) -> dict[str, Any]:
    """What a checkpoint says about itself. Names no folders: it may be given to other people."""
    recipe = to_plain(config)
    if config.encoder_weights is not None:
        recipe["encoder_weights"] = Path(config.encoder_weights).name
    validation = progress.validation
    return {
        "step": progress.step,
        "validation": None
        if validation is None
        else {"images": validation.images, "miou": list(validation.miou), "score": validation.score},
        "data": origin.counts,
        "start": origin.start,
        "recipe": recipe,
        "provenance": dict(origin.provenance),
    }


def model_card(info: Mapping[str, Any], *, parameters: int) -> str:
    """A page of Markdown about a checkpoint.

    Args:
        info: See `checkpoint_info`.
        parameters: Number of trained values.
    """
    recipe, validation = info["recipe"], info["validation"]
    model, optimizer = recipe["model"], recipe["optimizer"]
    sizes = ", then ".join(f"{stage['steps']} at {stage['size']} px" for stage in recipe["stages"])
    lines = [
        f"# {model['backbone']['name']}",
        "",
        "Segments one object in a 2D image, or in a slice of a volume, from positive and negative clicks (ActiveFreq).",
        "A research tool, no medical device: a person has to check every mask.",
        "",
        "## Network",
        "",
        f"- {model['backbone']['name']} {model['backbone']['options'] or ''}".rstrip(),
        f"- {parameters:,} parameters",
        f"- input {model['input_size']} px, refined at {model['refine_size']} px",
        "",
        "## Data",
        "",
        "Divided by groups (patients, or images where there are none); samples in each part:",
        "",
        "| Data set | " + " | ".join(PARTS) + " |",
        "| --- |" + " ---: |" * len(PARTS),
        *(
            f"| {name} | " + " | ".join(str(counts[part]) for part in PARTS) + " |"
            for name, counts in info["data"].items()
        ),
        "",
        "## Training",
        "",
        f"- began with {info['start']}",
        f"- {info['step']} steps of {recipe['batch_size']} views ({sizes})",
        f"- {optimizer['name']}, learning rate {optimizer['learning_rate']:g}, schedule {optimizer['schedule']}, "
        f"seed {recipe['seed']}",
        f"- code {info['provenance']['revision'] or 'of unknown revision'}, "
        f"torch {info['provenance']['packages']['torch']}",
        "",
        "## Validation",
        "",
    ]
    if validation is None:
        lines.append("None.")
    else:
        miou = validation["miou"]
        lines += [
            f"Standard clicker on {validation['images']} images of the validation part, through the click session. "
            "Checkpoints were chosen by these figures; they are no test.",
            "",
            "| Clicks | " + " | ".join(str(k) for k in range(1, len(miou) + 1)) + " |",
            "| --- |" + " ---: |" * len(miou),
            "| mean IoU | " + " | ".join(f"{value:.4f}" for value in miou) + " |",
        ]
    return "\n".join(lines) + "\n"
