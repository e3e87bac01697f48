"""Interactive medical image segmentation by clicks: FreqFormer, AcSelect, and the session between them."""

from activefreq.clicks import Click
from activefreq.errors import ActiveFreqError, CheckpointError, InputError
from activefreq.session import InteractiveSegmenter, SegmentationResult

__all__ = [
    "ActiveFreqError",
    "CheckpointError",
    "Click",
    "InputError",
    "InteractiveSegmenter",
    "SegmentationResult",
]
