"""Interactive medical image segmentation by clicks: FreqFormer, AcSelect, and the session between them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from activefreq.clicks import Click
from activefreq.errors import ActiveFreqError, CheckpointError, InputError

if TYPE_CHECKING:
    from activefreq.session.segmenter import InteractiveSegmenter, SegmentationResult

__all__ = [
    "ActiveFreqError",
    "CheckpointError",
    "Click",
    "InputError",
    "InteractiveSegmenter",
    "SegmentationResult",
]


def __getattr__(name: str) -> Any:
    # Imported when first asked for: PyTorch takes seconds, and reading files or a --help needs none of it.
    if name in ("InteractiveSegmenter", "SegmentationResult"):
        return getattr(import_module("activefreq.session.segmenter"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
