"""Volumes of their own that people uploaded, until they expire: MONAI Label's sessions."""

from __future__ import annotations

import logging
import shutil
import time
import uuid
from pathlib import Path

from monailabel.utils.sessions import SessionInfo, Sessions

logger = logging.getLogger(__name__)


class Uploads(Sessions):  # type: ignore[misc]
    """Against MONAI Label's own: what a kill or a full disk left half-made is removed too, and hinders nothing."""

    def get_session(self, session_id: str, update_ts: bool = True, fetch_cache: bool = True) -> SessionInfo | None:
        """The session; None if there is none that can be used."""
        try:
            return super().get_session(session_id, update_ts, fetch_cache)
        except Exception as error:  # an empty or damaged description can be wrong in any way
            logger.warning("The upload %s cannot be used: %s", session_id, error)
            return None

    def add_session(
        self, data_file: str, expiry: int = 0, uncompress: bool = False, session_id: str | None = None
    ) -> tuple[str, SessionInfo]:
        """Keeps a file or a folder, which is moved; whole or not at all."""
        session_id = session_id or str(uuid.uuid1())
        try:
            added: tuple[str, SessionInfo] = super().add_session(data_file, expiry, uncompress, session_id)
        except BaseException:
            self.remove_session(session_id)
            raise
        return added

    def remove_expired(self) -> int:
        """Removes what is older than it may be, and returns how much that was."""
        store = Path(self.store_path)
        folders = [path for path in store.iterdir() if path.is_dir()] if store.is_dir() else []
        return sum(self._remove_if_expired(folder) for folder in folders)

    def _remove_if_expired(self, folder: Path) -> bool:
        session = self.get_session(folder.name, update_ts=False, fetch_cache=False)
        if not folder.is_dir():
            return True  # its image was gone
        # One without a description may be on its way.
        ends = folder.stat().st_mtime + self.expiry if session is None else session.last_access_ts + session.expiry
        if ends >= time.time():
            return False
        self.pop(folder.name, None)
        shutil.rmtree(folder, ignore_errors=True)
        return True
