"""The studies: MONAI Label's datastores, with names that stay inside and files that are never half-written."""

from __future__ import annotations

import functools
import logging
import re
import shutil
import time
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from filelock import FileLock
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore, LocalDatastoreModel

from activefreq.files.atomic import atomic_write
from lib.answers import http_errors

logger = logging.getLogger(__name__)

EXTENSIONS = ("nii.gz", "nii", "nrrd", "mha", "jpg", "jpeg", "png", "tif", "tiff", "dcm")
"""Image files that are found in a folder of studies, in small or capital letters."""

_NAME = re.compile(r"\w[\w .,+=@()-]*")


def check_name(kind: str, name: str) -> str:
    """Returns a name that is to become a file's; 422 if it could lead out of its folder."""
    if not _NAME.fullmatch(name) or ".." in name or len(name) > 200:
        raise HTTPException(422, f"the {kind} {name!r} cannot be used as a file name")
    return name


def _stamp(path: Path) -> tuple[int, int, int]:
    """Tells versions of a file apart, however fast they follow one another: each is a file of its own."""
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def studies_folder(datastore: LocalDatastore) -> Path:
    """Where a datastore keeps its files: the folder of studies, or what was fetched of a DICOMweb server."""
    return Path(datastore._datastore_path)


class StudiesFolder(LocalDatastore):
    """A folder of images with their labels.

    Against MONAI Label's own: every file is replaced whole or not at all, so that neither a full disk nor a kill costs
    what was saved before; changes are made to what is on the disk, so that those of another process are kept;
    ids and tags cannot name files elsewhere.
    """

    def __init__(self, folder: str, *, auto_reload: bool = True, read_only: bool = False) -> None:
        patterns = [f"*.{extension}" for extension in EXTENSIONS]
        patterns += [pattern.upper() for pattern in patterns]
        super().__init__(folder, extensions=patterns, auto_reload=auto_reload, read_only=read_only)
        if auto_reload:
            # An atomic replacement reaches watchers as a move.
            self._handler.on_moved = self._on_moved

    def get_image_uri(self, image_id: str) -> str:
        self._check_image(image_id)
        return super().get_image_uri(image_id)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        self._check_image(image_id)
        check_name("tag", label_tag)
        with http_errors(), self._guard:
            self._init_from_datastore_file()
            self._check_image(image_id)
            _, extension = self._to_id(Path(label_filename).name)
            folder = Path(self._datastore.label_path(label_tag))
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / self._filename(image_id, extension)
            with atomic_write(target) as temporary:
                shutil.copyfile(label_filename, temporary)
            labels = self._datastore.objects[image_id].labels
            before = labels.get(label_tag)
            info = {**(label_info or {}), "ts": int(time.time()), "name": target.name}
            labels[label_tag] = DataModel(info=info, ext=extension)
            self._update_datastore_file()
            if before is not None and before.ext != extension:
                (folder / self._filename(image_id, before.ext)).unlink(missing_ok=True)
        return image_id

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        name, extension = self._to_id(Path(image_filename).name)
        image_id = check_name("image id", image_id or name)
        if f"*{extension}" not in self._extensions:
            raise HTTPException(422, f"images of type {extension!r} are not served, only {', '.join(EXTENSIONS)}")
        with http_errors(), self._guard:
            self._init_from_datastore_file()
            target = Path(self._datastore.image_path()) / self._filename(image_id, extension)
            with atomic_write(target) as temporary:
                shutil.copyfile(image_filename, temporary)
            info = {**(image_info or {}), "ts": int(time.time()), "name": target.name}
            self._datastore.objects[image_id] = ImageLabelModel(image=DataModel(info=info, ext=extension))
            self._update_datastore_file()
        return image_id

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        if set(info) == {"strategy"}:
            # Who was given the image when, at every next sample: of no use after this server, and not worth
            # writing the whole file, which takes seconds where there are many images. See `active_store`.
            self._check_image(image_id)
            self._datastore.objects[image_id].image.info.update(info)
            return
        with http_errors(), self._guard:
            self._init_from_datastore_file()
            self._check_image(image_id)
            super().update_image_info(image_id, info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        with http_errors(), self._guard:
            self._init_from_datastore_file()
            super().update_label_info(label_id, label_tag, info)

    def _check_image(self, image_id: str) -> None:
        if image_id not in self._datastore.objects:
            raise HTTPException(404, f"there is no image {image_id!r} among the studies")

    @functools.cached_property
    def _guard(self) -> FileLock:
        """The datastore's lock; one thread may take it again and again."""
        return FileLock(self._lock_file)

    def _reconcile_datastore(self) -> None:
        with self._guard:
            super()._reconcile_datastore()

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        path = Path(self._datastore_config_path)
        with self._guard:
            if not path.exists() or _stamp(path) == self._config_ts:
                return
            try:
                loaded = LocalDatastoreModel.model_validate_json(path.read_text())
            except ValueError:
                logger.exception("%s cannot be read", path)
                if throw_exception:
                    raise
                return
            loaded.base_path = self._datastore_path
            self._datastore, self._config_ts = loaded, _stamp(path)

    def _update_datastore_file(self, lock: bool = True) -> None:
        with self._guard:
            text = self._datastore.model_dump_json(exclude={"base_path"}, indent=2, fallback=str)
            with atomic_write(self._datastore_config_path) as temporary:
                temporary.write_text(text)
            self._config_ts = _stamp(Path(self._datastore_config_path))

    def _on_moved(self, event: Any) -> None:
        if event.dest_path == self._datastore_config_path:
            self._init_from_datastore_file()
        else:
            self._on_any_event(event)
