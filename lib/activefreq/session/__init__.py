"""What happens between a click and a mask."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from activefreq.session.state import PreparedImage, SessionState, prepare_image

if TYPE_CHECKING:
    from activefreq.models.config import SessionConfig
    from activefreq.session.segmenter import InteractiveSegmenter, SegmentationResult

__all__ = [
    "InteractiveSegmenter",
    "PreparedImage",
    "SegmentationResult",
    "SessionConfig",
    "SessionState",
    "prepare_image",
]

_PLACES = {
    "InteractiveSegmenter": "activefreq.session.segmenter",
    "SegmentationResult": "activefreq.session.segmenter",
    "SessionConfig": "activefreq.models.config",
}


def __getattr__(name: str) -> Any:
    # What needs PyTorch is imported when it is first asked for.
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
