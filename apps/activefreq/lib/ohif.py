"""What this app adds to the OHIF viewer that MONAI Label serves: the right server, and a button that submits the mask.

The viewer of MONAI Label 0.8.5 cannot save. Its configuration file is a script, so the button comes with it. It sends
the mask that the viewer shows, so that the label is what the person saw.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from monailabel.config import settings
from monailabel.endpoints.ohif import get_ohif
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.utils.app import app_instance

from activefreq.files.grids import Geometry
from activefreq.files.volume_writing import write_mask
from activefreq.files.volumes import read_geometry
from lib.answers import http_errors
from lib.clients import give_cookie
from lib.request_checks import Door
from lib.routes import guarded_route

LABEL_PATH = "/activefreq/label"
CONFIGURATION_PATH = "/ohif/app-config.js"


def add_ohif_routes(server: FastAPI, *, label: str, door: Door) -> None:
    """Adds this module's routes before MONAI Label's own.

    Args:
        server: MONAI Label's.
        label: Name of the structure whose mask is submitted.
        door: Which requests are let in.
    """
    kind = guarded_route(replace(door, other_bytes=door.upload_bytes))
    router = APIRouter(prefix=settings.MONAI_LABEL_API_STR, route_class=kind)

    def configuration(request: Request) -> Response:
        answer = _configuration(label)
        give_cookie(request, answer)
        return answer

    router.add_api_route(CONFIGURATION_PATH, configuration, include_in_schema=False)

    async def submit(
        request: Request,
        image: str,
        user: User = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR)),
    ) -> dict[str, str]:
        """Makes a mask the final label of an image.

        The body holds a byte for each voxel, in the order of the image's file (i fastest): 0 for background.
        """
        app = app_instance()
        grid = await run_in_threadpool(_grid, app, image)
        voxels = int(np.prod(grid.shape))
        if request.headers.get("content-length") != str(voxels):
            raise HTTPException(422, f"the image has {voxels} voxels, and the mask must have as many bytes")
        values = np.frombuffer(await request.body(), np.uint8)
        saved = await run_in_threadpool(_save, app, image, values, grid, label=label, user=user.username)
        return {"image": image, "label": saved}

    router.add_api_route(LABEL_PATH, submit, methods=["PUT"], tags=["ActiveFreq"], summary="Submit a mask from OHIF")
    server.router.routes[:0] = router.routes


def _configuration(label: str) -> Response:
    """The viewer's own configuration with our script behind it."""
    stock = Path(get_ohif("app-config.js").path).read_text()
    script = (Path(__file__).parent / "ohif_viewer.js").read_text()
    facts = {"label": label, "submit": settings.MONAI_LABEL_API_STR + LABEL_PATH}
    text = f"{stock}\n\nwindow.activefreq = {json.dumps(facts)};\n{script}"
    # A browser must not keep the script of another version.
    return Response(text, media_type="text/javascript", headers={"Cache-Control": "no-store"})


def _grid(app: MONAILabelApp, image: str) -> Geometry:
    with http_errors():
        return read_geometry(app.datastore().get_image_uri(image))


def _save(app: MONAILabelApp, image: str, values: np.ndarray, grid: Geometry, *, label: str, user: str) -> str:
    """Saves the mask values != 0 as the final label, as `PUT /datastore/label` does, and returns its id."""
    info: dict[str, Any] = {"label_info": [{"name": label, "idx": 1}], "user": user}
    with http_errors(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.nii.gz"
        write_mask(path, (values != 0).reshape(grid.shape), like=grid)
        saved: str = app.datastore().save_label(image, str(path), DefaultLabelTag.FINAL.value, info)
    app.on_save_label(image, saved)
    return saved
