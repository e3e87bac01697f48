"""The studies: MONAI Label's datastores, with names that stay inside and files that are never half-written."""

from __future__ import annotations

import filecmp
import functools
import logging
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from filelock import FileLock
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore, LocalDatastoreModel
from monailabel.interfaces.datastore import DefaultLabelTag

from activefreq.errors import InputError
from activefreq.files.atomic import atomic_write
from lib.answers import http_errors
from lib.settled import Settled

logger = logging.getLogger(__name__)

EXTENSIONS = ("nii.gz", "nii", "nrrd", "mha", "jpg", "jpeg", "png", "tif", "tiff", "dcm")
"""Image files that are found in a folder of studies, in small or capital letters."""

_NAME_BYTES = 200
_OWN_FACTS = ("id", "path", "waiting", "score", "slice", "problem")
"""What the answer to a next sample says of an image; notes of these names would hide it."""


def check_name(kind: str, name: str) -> str:
    """Returns a name that is to become a file's; 422 if it could lead out of its folder."""
    if not isinstance(name, str) or not _is_file_name(name):
        raise HTTPException(422, f"the {kind} {str(name)[:80]!r} cannot be used as a file name")
    return name


def _is_file_name(name: str) -> bool:
    """3D Slicer calls images as it shows them, such as "2: T1 [SAG]"."""
    if not name or name != name.strip() or name.startswith(".") or not name.isprintable() or {"/", "\\"} & {*name}:
        return False
    try:
        return len(name.encode()) <= _NAME_BYTES
    except UnicodeEncodeError:
        return False


def _check_facts(info: Mapping[str, Any]) -> None:
    for name in _OWN_FACTS:
        if name in info:
            raise HTTPException(422, f"notes to an image cannot have the entry {name!r}")


def _stamp(path: Path) -> tuple[int, int, int]:
    """Tells versions of a file apart, however fast they follow one another: each is a file of its own."""
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _dangling(folder: str | Path) -> set[str]:
    """Names of the links in a folder that lead nowhere."""
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_symlink() and not Path(entry.path).exists()}


def file_stamp(path: str | Path) -> str:
    """Tells versions of an image's file apart, as it is kept with what was computed of the image."""
    stat = Path(path).stat()
    return f"{stat.st_mtime_ns}-{stat.st_size}"


def image_stamp(datastore: LocalDatastore, image_id: str) -> str:
    """The stamp of an image's file; empty if it is not here, such as what nobody has downloaded yet."""
    entry = datastore._datastore.objects.get(image_id)
    if entry is None:
        return ""
    try:
        return file_stamp(Path(datastore._datastore.image_path(), datastore._filename(image_id, entry.image.ext)))
    except OSError:
        return ""


def studies_folder(datastore: LocalDatastore) -> Path:
    """Where a datastore keeps its files: the folder of studies, or what was fetched of a DICOMweb server."""
    return Path(datastore._datastore_path)


class StudiesFolder(LocalDatastore):
    """A folder of images with their labels.

    Against MONAI Label's own: every file is replaced whole or not at all, so that neither a full disk nor a kill costs
    what was saved before; changes are made to what is on the disk, so that those of another process are kept;
    ids and tags cannot name files elsewhere. And it may be used from several threads: what its readers go through is
    replaced, never changed.
    """

    def __init__(self, folder: str, *, auto_reload: bool = True, read_only: bool = False) -> None:
        patterns = [f"*.{extension}" for extension in EXTENSIONS]
        patterns += [pattern.upper() for pattern in patterns]
        self._looks = Settled(self._look, quiet=0.5, most=2.0)
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
            extension = self._extension(label_filename)
            folder = Path(self._datastore.label_path(label_tag))
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / self._filename(image_id, extension)
            with atomic_write(target) as temporary:
                shutil.copyfile(label_filename, temporary)
            entry = self._datastore.objects[image_id]
            before = entry.labels.get(label_tag)
            info = {**(label_info or {}), "ts": int(time.time()), "name": target.name}
            entry.labels = {**entry.labels, label_tag: DataModel(info=info, ext=extension)}
            self._update_datastore_file()
            if before is not None and before.ext != extension:
                (folder / self._filename(image_id, before.ext)).unlink(missing_ok=True)
        return image_id

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Adds an image; the same image again changes nothing. Raises `HTTPException` (409) for another of its name."""
        name, _ = self._to_id(Path(image_filename).name)
        image_id = check_name("image id", image_id or name)
        _check_facts(image_info or {})
        with http_errors(), self._guard:
            self._init_from_datastore_file()
            known = self._datastore.objects.get(image_id)
            if known is not None and (path := self._image_file(image_id, known)).exists():
                # Its labels would become those of another image.
                if path.is_file() and filecmp.cmp(path, image_filename, shallow=False):
                    return image_id
                raise HTTPException(409, f"there is another image {image_id!r}: remove it, or give this another name")
            return self._put_image(image_id, image_filename, image_info)

    def _put_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Adds an image in place of what there is of that name."""
        extension = self._extension(image_filename)
        with http_errors(), self._guard:
            self._init_from_datastore_file()
            target = Path(self._datastore.image_path()) / self._filename(image_id, extension)
            with atomic_write(target) as temporary:
                shutil.copyfile(image_filename, temporary)
            info = {**(image_info or {}), "ts": int(time.time()), "name": target.name}
            entry = ImageLabelModel(image=DataModel(info=info, ext=extension))
            self._datastore.objects = {**self._datastore.objects, image_id: entry}
            self._update_datastore_file()
        return image_id

    def remove_image(self, image_id: str) -> None:
        """Removes an image and its labels; of an image that is a link, the link and not what it leads to."""
        with http_errors(), self._guard:
            self._init_from_datastore_file()
            entry = self._check_image(image_id)
            # Also labels that nobody has looked for yet: they would become those of the next image of that name.
            names = [self._filename(image_id, pattern[1:]) for pattern in self._extensions]
            for tag in Path(self._datastore.label_path(None)).iterdir():
                for name in names if tag.is_dir() else ():
                    (tag / name).unlink(missing_ok=True)
            self._image_file(image_id, entry).unlink(missing_ok=True)
            # At once, not when the folders are looked through: another image may be given that name right now.
            objects = self._datastore.objects
            self._datastore.objects = {name: kept for name, kept in objects.items() if name != image_id}
            self._update_datastore_file()

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        if not isinstance(info.get("strategy", {}), dict):
            raise HTTPException(422, "the entry 'strategy' of an image is MONAI Label's, and an object")
        _check_facts(info)
        if set(info) == {"strategy"}:
            # Who was given the image when, at every next sample: of no use after this server, and not worth
            # writing the whole file, which takes seconds where there are many images. See `active_store`.
            image = self._check_image(image_id).image
            image.info = {**image.info, **info}
            return
        with http_errors(), self._guard:
            self._init_from_datastore_file()
            image = self._check_image(image_id).image
            image.info = {**image.info, **info}
            self._update_datastore_file()

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        with http_errors(), self._guard:
            self._init_from_datastore_file()
            label = self._check_image(label_id).labels.get(label_tag)
            if label is None:
                raise HTTPException(404, f"the image {label_id!r} has no label {label_tag!r}")
            label.info = {**label.info, **info}
            self._update_datastore_file()

    def remove_label(self, label_id: str, label_tag: str) -> None:
        with http_errors(), self._guard:
            self._init_from_datastore_file()
            entry = self._check_image(label_id)
            label = entry.labels.get(label_tag)
            if label is None:
                raise HTTPException(404, f"the image {label_id!r} has no label {label_tag!r}")
            # First the file: an entry without one is dropped when the folders are looked through, a file is found.
            path = Path(self._datastore.label_path(label_tag)) / self._filename(label_id, label.ext)
            path.unlink(missing_ok=True)
            entry.labels = {tag: kept for tag, kept in entry.labels.items() if tag != label_tag}
            self._update_datastore_file()

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        if not self.get_labeled_images():
            raise HTTPException(404, "no image has a submitted label yet: there is no data set")
        handle, name = tempfile.mkstemp(suffix=".zip")
        try:
            with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w", strict_timestamps=False) as archive:
                if not self._write_cases(archive, limit_cases):
                    raise HTTPException(404, "no image with a submitted label can be read: there is no data set")
                archive.writestr("metadata.json", self._datastore.model_dump_json(exclude={"base_path"}, fallback=str))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return name

    def _write_cases(self, archive: zipfile.ZipFile, limit: int | None) -> int:
        """Writes images and their labels by their ids, and returns how many; links may lead to files of any names."""
        count = 0
        for image_id in self.get_labeled_images():
            if limit is not None and count == limit > 0:
                break
            try:
                files = self.get_image_uri(image_id), self.get_label_uri(image_id, DefaultLabelTag.FINAL.value)
                entry = self._check_image(image_id)
                extensions = entry.image.ext, entry.labels[DefaultLabelTag.FINAL.value].ext
                if not all(Path(file).is_file() for file in files):
                    raise InputError("its file is gone")
            except (HTTPException, InputError, KeyError) as error:
                # Such as what was removed meanwhile, or of another program's segmentation, of a kind that is not read.
                logger.warning("%s is left out: %s", image_id, getattr(error, "detail", error))
                continue
            for kind, file, extension in zip(("image", "label"), files, extensions, strict=True):
                archive.write(file, f"{kind}/{self._filename(image_id, extension)}")
            count += 1
        return count

    def _image_file(self, image_id: str, entry: ImageLabelModel) -> Path:
        """Its path in the folder, which may be a link."""
        return Path(self._datastore.image_path()) / self._filename(image_id, entry.image.ext)

    def _check_image(self, image_id: str) -> ImageLabelModel:
        entry = self._datastore.objects.get(image_id)
        if entry is None:
            raise HTTPException(404, f"there is no image {image_id!r} among the studies")
        return entry

    def _extension(self, filename: str) -> str:
        _, extension = self._to_id(Path(filename).name)
        if f"*{extension}" not in self._extensions:
            raise HTTPException(422, f"files of type {extension!r} are not served, only {', '.join(EXTENSIONS)}")
        return str(extension)

    @functools.cached_property
    def _guard(self) -> FileLock:
        """The datastore's lock; one thread may take it again and again."""
        return FileLock(self._lock_file)

    def _reconcile_datastore(self) -> None:
        with self._guard:
            self._init_from_datastore_file()
            objects = self._found(self._datastore.objects)
            if objects != self._datastore.objects:
                self._datastore.objects = objects
                self._update_datastore_file()

    def _found(self, known: Mapping[str, ImageLabelModel]) -> dict[str, ImageLabelModel]:
        """The images and labels that are in the folders, with what is known of them."""
        folder = self._datastore.image_path()
        images = self._described(folder)
        there = {path.name for path in Path(folder).iterdir()} - _dangling(folder)
        objects = {name: entry for name, entry in known.items() if name + entry.image.ext in there}
        objects |= {name: ImageLabelModel(image=image) for name, image in images.items() if name not in objects}
        tags: dict[str, dict[str, DataModel]] = {}
        for path in Path(self._datastore.label_path(None)).iterdir():
            if path.is_dir():
                tags[path.name] = self._described(path)
        for name, entry in objects.items():
            labels = {
                tag: label
                for tag, label in entry.labels.items()
                if (Path(self._datastore.label_path(tag)) / (name + label.ext)).is_file()
            }
            labels |= {tag: files[name] for tag, files in tags.items() if name in files and tag not in labels}
            if labels != entry.labels:
                objects[name] = entry.model_copy(update={"labels": labels})
        return objects

    def _list_files(self, path: str | Path, patterns: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = super()._list_files(path, patterns)
        dangling = _dangling(path)
        return {name: file for name, file in found.items() if name not in dangling}

    def _described(self, folder: str | Path) -> dict[str, DataModel]:
        """The files in a folder that are images, by their ids."""
        found = {}
        for file in sorted(self._list_files(folder, self._extensions)):
            name, extension = self._to_id(file)
            if not _is_file_name(file):
                logger.warning("%r in %s is not offered: its name cannot be used", file, folder)
            elif name and self._filename(name, extension) == file:
                found[name] = DataModel(info={"ts": int(time.time()), "name": file}, ext=extension)
        return found

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

    def _on_any_event(self, event: Any) -> None:
        """One look for many files that are copied here: each goes through all of them and may write the index."""
        self._looks.note()

    def _look(self) -> None:
        try:
            self.refresh()
        except Exception:
            logger.exception("The studies could not be looked through after a change")

    def _on_moved(self, event: Any) -> None:
        if event.dest_path == self._datastore_config_path:
            self._init_from_datastore_file()
        else:
            self._on_any_event(event)
