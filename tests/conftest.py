"""Small data sets on disk, in the layouts that the project reads (pictures: `synthetic.py`), and a small network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from synthetic import grey_ring, oblique_volume, rgb_blob, write_picture, write_volume
from tiny import make_tiny_model

from activefreq.files.volume_writing import write_mask
from activefreq.files.volumes import read_geometry
from activefreq.models.checkpoint import Checkpoint, save_checkpoint
from activefreq.models.interactive import InteractiveModel

# Times say nothing on a machine that does other work besides. CI runs the same examples every time; by hand they are
# new ones, which is how faults are found.
settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("untimed")


SHARED = {
    "server": ("test_server", "test_server_active_learning", "test_responsive", "test_load_server", "test_robot"),
    "worn_server": ("test_busy_server", "test_fuzz", "test_security"),
}
"""Files of tests that share a server, by its fixture."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of several processes, each takes whole files, and all that share a server, so that these are made once.

    This is what xdist's groups are for, but those of version 3.8 do nothing under pytest 9.
    """
    from xdist.scheduler import LoadFileScheduling  # only where it runs

    class SharedServers(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return next((name for name, files in SHARED.items() if Path(file).stem in files), file)

    return SharedServers(config, log)


class Folders(NamedTuple):
    """A data set: the folder of its images and the folder of its labels."""

    images: Path
    labels: Path


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Two empty folders."""
    made = Folders(tmp_path / "images", tmp_path / "labels")
    for folder in made:
        folder.mkdir()
    return made


@pytest.fixture
def lesion_folders(folders: Folders) -> Folders:
    """Six RGB images like ISIC's: ISIC_0000001.jpg (48 x 64) and ISIC_0000001_segmentation.png."""
    for number in range(1, 7):
        image, mask = rgb_blob(number)
        write_picture(folders.images / f"ISIC_{number:07d}.jpg", image)
        write_picture(folders.labels / f"ISIC_{number:07d}_segmentation.png", mask)
    return folders


@pytest.fixture
def ring_folders(folders: Folders) -> Folders:
    """Six grey images like Sunnybrook's, of three patients: SC-N-01-IM-0001-0020.png, 64 x 64, thin rings."""
    for number in range(6):
        image, mask = grey_ring(number)
        name = f"SC-N-{number // 2 + 1:02d}-IM-0001-{20 * (number % 2 + 1):04d}.png"
        write_picture(folders.images / name, image)
        write_picture(folders.labels / name, mask)
    return folders


@pytest.fixture
def volume_folders(folders: Folders) -> Folders:
    """Three volumes (6, 24, 20) on an oblique grid with labels 1 and 2: scan_001.nii.gz in both folders."""
    for number in range(1, 4):
        volume, labels = oblique_volume(number)
        write_volume(folders.images / f"scan_{number:03d}.nii.gz", volume.array, volume.geometry)
        write_volume(folders.labels / f"scan_{number:03d}.nii.gz", labels, volume.geometry)
    return folders


@pytest.fixture
def studies_folder(tmp_path: Path) -> Path:
    """A MONAI Label studies folder: four jpg images, of which three have a label in labels/final (.nii.gz)."""
    studies = tmp_path / "studies"
    (studies / "labels" / "final").mkdir(parents=True)
    for number in range(1, 5):
        image, mask = rgb_blob(number)
        write_picture(studies / f"lesion_{number}.jpg", image)
        if number < 4:
            label = studies / "labels" / "final" / f"lesion_{number}.nii.gz"
            write_mask(label, mask, like=read_geometry(studies / f"lesion_{number}.jpg"))
    return studies


@pytest.fixture(scope="session")
def tiny_model() -> InteractiveModel:
    return make_tiny_model(seed=0)


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_model: InteractiveModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.pt"
    save_checkpoint(path, Checkpoint(tiny_model))
    return path
