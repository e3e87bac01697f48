"""The model that answers clicks, renewed when its file changes."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from activefreq.errors import CheckpointError
from activefreq.models.checkpoint import checkpoint_hash, load_checkpoint_and_hash, resolve_checkpoint
from activefreq.session import InteractiveSegmenter
from activefreq.session.replay import ClickReplay
from lib.served_checkpoint import served_path

logger = logging.getLogger(__name__)

Stamp = tuple[str, int, int, int]


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """One version of the model, with the states of its own answers.

    Attributes:
        segmenter: Network and session settings.
        replay: Answers clicks.
        version: The first 12 digits of the checkpoint's SHA-256.
    """

    segmenter: InteractiveSegmenter
    replay: ClickReplay
    version: str


class ServedModel:
    """Loads a checkpoint at first use and again when the file has changed; may be used from several threads.

    A new file that cannot be used is reported (`problem`, and in the log) and not served: the model before it stays. So
    does it if there is no room for the new one, which is then tried again.

    Args:
        name: A checkpoint's path, or the name of one that ships.
        device: As `InteractiveSegmenter.from_pretrained` takes it.
        cache_bytes: What the kept click states may take.
        finetuned: Folder of fine-tuned checkpoints: one that was made of this checkpoint is served instead of it.
        mirrors: As `InteractiveSegmenter.from_pretrained` takes it.
    """

    def __init__(
        self,
        name: str,
        *,
        device: str,
        cache_bytes: int,
        finetuned: Path | None = None,
        mirrors: int | None = None,
    ) -> None:
        self._name = name
        self._finetuned = finetuned
        self._device = device
        self._mirrors = mirrors
        self._cache_bytes = cache_bytes
        self._lock = threading.Lock()
        self._stamp: Stamp | None = None
        self._model: LoadedModel | None = None
        self._hashed: tuple[Stamp, str] | None = None
        self._problem = ""

    @property
    def mirrors(self) -> int | None:
        """How many mirror images the answers are asked in; None for as many as the checkpoint says."""
        return self._mirrors

    @property
    def path(self) -> Path:
        """The checkpoint's file. Raises `CheckpointError` if there is none."""
        return resolve_checkpoint(self._name) if self._finetuned is None else served_path(self._name, self._finetuned)

    @property
    def problem(self) -> str:
        """What is wrong with the checkpoint's file that was tried last; empty if it is served, or none was tried."""
        return self._problem

    @property
    def version(self) -> str:
        """Of the checkpoint's file as it is now, whether or not it is loaded. Raises `CheckpointError`."""
        with self._lock:
            path, stamp = self._located()
            if self._hashed is None or self._hashed[0] != stamp:
                self._hashed = stamp, checkpoint_hash(path)[:12]
            return self._hashed[1]

    def current(self) -> LoadedModel:
        """The newest usable version. Raises `CheckpointError` if there never was one."""
        with self._lock:
            before = self._stamp
            try:
                path, stamp = self._located()
                if stamp != before:
                    # Remembered before it is tried, so that a broken file is read and reported once.
                    self._stamp = stamp
                    self._model = self._load(path)
                    self._problem = ""
            except Exception as error:  # a GPU without room raises RuntimeErrors of all kinds
                self._problem = str(error) or type(error).__name__
                if not isinstance(error, CheckpointError):
                    self._stamp = before
                if self._model is None:
                    self._stamp = None
                    raise CheckpointError(self._problem) from error
                logger.error("The new checkpoint is not used, the model before it serves on: %s", self._problem)
            return self._model

    def _located(self) -> tuple[Path, Stamp]:
        path = self.path
        try:
            stat = path.stat()
        except OSError as error:
            raise CheckpointError(str(error)) from error
        return path, (str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino)

    def _load(self, path: Path) -> LoadedModel:
        # In one read: a fine-tuning may publish its next weights at any moment.
        checkpoint, digest = load_checkpoint_and_hash(path)
        version = digest[:12]
        segmenter = InteractiveSegmenter.from_checkpoint(checkpoint, self._device, mirrors=self._mirrors)
        replay = ClickReplay(segmenter, cache_bytes=self._cache_bytes)
        logger.info("Serving checkpoint %s (%s) on %s", path, version, segmenter.device)
        return LoadedModel(segmenter, replay, version)
