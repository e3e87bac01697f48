"""What was clicked last on an image: OHIF's and Slicer's automatic segmentation send no clicks along."""

from __future__ import annotations

from collections.abc import Mapping

from activefreq.session.cache import ByteCache
from activefreq.session.state import SessionState
from lib.images import LoadedImage


class ClickMemory:
    """The states of the slices after the last click request on an image, per client; may be used from several threads.

    Args:
        limit: Bytes that the states may take.
    """

    def __init__(self, limit: int) -> None:
        self._states: ByteCache[Mapping[int, SessionState]] = ByteCache(
            limit, lambda states: sum(state.bytes_held for state in states.values())
        )

    def put(self, image: LoadedImage, client: str, states: Mapping[int, SessionState]) -> None:
        """Keeps the states by slice, in place of those before; none means that there are no clicks any more."""
        key = (image.key, client)
        if states:
            self._states.put(key, states)
        else:
            # Kept, it would take no bytes that are counted, and never be thrown out.
            self._states.drop(key)

    def __len__(self) -> int:
        """How many clients' clicks are remembered."""
        return len(self._states)

    def get(self, image: LoadedImage, client: str) -> Mapping[int, SessionState]:
        """The states by slice; empty if nothing was clicked, or it was forgotten."""
        return self._states.get((image.key, client)) or {}
