"""What happens between a click and a mask."""

from activefreq.models.config import SessionConfig
from activefreq.session.segmenter import InteractiveSegmenter, SegmentationResult
from activefreq.session.state import PreparedImage, SessionState, prepare_image
from activefreq.session.step import step

__all__ = [
    "InteractiveSegmenter",
    "PreparedImage",
    "SegmentationResult",
    "SessionConfig",
    "SessionState",
    "prepare_image",
    "step",
]
