"""ActiveFreq as a MONAI Label app: `monailabel start_server --app apps/activefreq --studies DIR`."""

from __future__ import annotations

import logging
import sqlite3
import sys
from pathlib import Path
from typing import Any

from lib.background import is_scoring_process, yield_to_others

if is_scoring_process():
    yield_to_others()

try:
    import activefreq  # noqa: F401
except ModuleNotFoundError:  # not installed: run from a checkout
    sys.path.append(str(Path(__file__).resolve().parents[2] / "lib"))

from fastapi import HTTPException
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from lib.active_store import ActiveStores
from lib.dicom_connection import open_dicomweb
from lib.infers import make_infers
from lib.ohif import add_ohif_routes
from lib.request_checks import Door, own_names
from lib.routes import serve_routes
from lib.scoring import make_scoring_methods
from lib.scoring.demand import ScoringDemand
from lib.served_model import ServedModel
from lib.settings import AppSettings
from lib.strategies import make_strategies
from lib.studies import StudiesFolder
from lib.suggested_segments import refuse_suggestions
from lib.trainers import make_trainers
from lib.uploads import Uploads

logger = logging.getLogger(__name__)


class ActiveFreqApp(MONAILabelApp):
    """Puts the parts in `lib` together."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self._settings = AppSettings.parse(conf)
        self._model = ServedModel(
            self._settings.checkpoint,
            device=self._settings.device,
            cache_bytes=self._settings.cache_bytes,
            finetuned=self._settings.finetuned,
            mirrors=self._settings.mirrors,
        )
        self._stores = ActiveStores()
        self._demand = ScoringDemand(self._model, self._stores)
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="ActiveFreq",
            description="Interactive segmentation by clicks, with FreqFormer and AcSelect",
            version="0.1.0",
            # Not what the tasks answer: suggested regions are no structure that one segments.
            labels=[self._settings.label],
        )

    def init_datastore(self) -> Datastore:
        if self._on_dicomweb:
            return open_dicomweb(self.studies.rstrip("/"))
        return StudiesFolder(
            self.studies,
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )

    @property
    def _on_dicomweb(self) -> bool:
        return self.studies.startswith(("http://", "https://"))

    def _load_sessions(self, load: bool = False) -> Uploads | None:
        return Uploads(settings.MONAI_LABEL_SESSION_PATH, settings.MONAI_LABEL_SESSION_EXPIRY) if load else None

    def cleanup_sessions(self) -> None:
        # MONAI Label's own removes nothing after a start until somebody has uploaded something.
        if self._sessions is not None:
            self._sessions.remove_expired()

    def init_infers(self) -> dict[str, InferTask]:
        return make_infers(self._settings, self._model)

    def init_trainers(self) -> dict[str, TrainTask]:
        return make_trainers(self._settings)

    def init_strategies(self) -> dict[str, Strategy]:
        return make_strategies(self._stores)

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        return make_scoring_methods(self._model, self._stores, share=self._settings.scoring_share)

    def server_mode(self, mode: bool) -> None:
        super().server_mode(mode)
        if mode:
            from monailabel.app import app as server  # imports the whole server: only where it runs

            door = Door(upload_bytes=self._settings.upload_bytes, origins=self._settings.origins, names=own_names())
            serve_routes(server, door=door, dicomweb=self._on_dicomweb)
            add_ohif_routes(server, label=self._settings.label, door=door)

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Runs one inference task.

        Args:
            request: `model`, `image` (an id of the studies, or the path of an uploaded image), what the task reads, and
                optionally `save_label` with `label_tag`.
        """
        task: InferTask = _known("model", self._infers, request["model"])
        store = datastore or self.datastore()
        uploaded = Path(request["image"]).is_absolute()
        path = request["image"] if uploaded else store.get_image_uri(request["image"])
        file, facts = task({**request, "image": path})
        label = file
        if request.get("save_label") and not uploaded:
            tag = request.get("label_tag") or DefaultLabelTag.ORIGINAL.value
            info = {"model": request["model"], "params": facts}
            try:
                if tag == DefaultLabelTag.FINAL.value:
                    refuse_suggestions(Path(file), info)
                label = store.save_label(request["image"], file, tag, info)
            except BaseException:
                Path(file).unlink(missing_ok=True)
                raise
        return {"label": label, "tag": DefaultLabelTag.ORIGINAL.value, "file": file, "params": facts}

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        if request.get("strategy"):
            _known("strategy", self._strategies, request["strategy"])
        return super().next_sample(request)

    def check_trainer(self, name: str) -> None:
        """Raises `HTTPException` (404) unless there is such a model to train."""
        _known("model to train", self._trainers, name)

    def check_scoring_method(self, name: str) -> None:
        """Raises `HTTPException` (404) unless there is such a scoring method."""
        _known("scoring method", self._scoring_methods, name)

    def async_scoring(self, method: str | None, params: dict[str, Any] | None = None) -> Any:
        """MONAI Label asks at every start, next sample and training; mostly there is nothing to do."""
        if method is None and self._server_mode and not self._wanted():
            return {}
        return super().async_scoring(method, params)

    def _wanted(self) -> bool:
        try:
            return self._demand.is_new(self.datastore())
        except HTTPException as error:
            # Such as of a DICOMweb server that is not up yet: no reason not to start, or to answer.
            logger.warning("Nothing is scored now: %s", error.detail)
            return False
        except (sqlite3.Error, OSError) as error:
            logger.warning("Nothing is scored now, for want of a place for scores: %s", error)
            return False


def _known(kind: str, tasks: dict[str, Any], name: str) -> Any:
    if name not in tasks:
        raise HTTPException(404, f"there is no {kind} {name!r}, only {', '.join(tasks)}")
    return tasks[name]
