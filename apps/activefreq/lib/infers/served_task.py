"""What the tasks of the served model have in common."""

from __future__ import annotations

from collections.abc import Mapping

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from lib.images import ImageCache
from lib.served_model import ServedModel


class ServedTask(InferTask):
    """A task that the served model answers, slice by slice.

    Args:
        model: Answers.
        images: Reads images.
        kind: By which the clients know where to offer it.
        labels: Values of its label maps by the names of the structures.
        description: For the clients.
    """

    def __init__(
        self, model: ServedModel, images: ImageCache, *, kind: InferType, labels: Mapping[str, int], description: str
    ) -> None:
        super().__init__(type=kind, labels=dict(labels), dimension=2, description=description)
        self._model = model
        self._images = images

    def is_valid(self) -> bool:
        """Offered even when the checkpoint is broken: then an answer says so, where a hidden model would not."""
        return True

    def get_path(self, validate: bool = True) -> str:
        return str(self._model.path)
