"""One real server for all tests of the app, on the sample studies and on images of every kind, good and bad."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monailabel.client import MONAILabelClient
from PIL import Image
from server import Server, running_server
from tiny import make_tiny_model

from activefreq import InteractiveSegmenter
from activefreq.data.sample_studies import dermoscopy_like, mr_like, write_sample_studies
from activefreq.files.dicom import dicom_series
from activefreq.files.volumes import read_volume
from activefreq.models.checkpoint import Checkpoint, save_checkpoint
from lib.served_model import ServedModel


def write_good_images(folder: Path) -> None:
    """Images of every kind that the app reads; their ids begin with good_."""
    colour = dermoscopy_like((72, 96), seed=3).image
    grey = colour.mean(axis=2)
    deep = (grey * 200).astype(np.uint16)
    Image.fromarray(colour).save(folder / "good_dpi.jpg", dpi=(72, 72))
    Image.fromarray(colour).save(folder / "good_colour.png")
    Image.fromarray(grey.astype(np.uint8)).save(folder / "good_grey.png")
    Image.fromarray(deep).save(folder / "good_deep.png")
    Image.fromarray(colour).save(folder / "good_capitals.JPG")
    sitk.WriteImage(sitk.GetImageFromArray(deep), str(folder / "good_deep_tiff.tif"))
    sitk.WriteImage(
        sitk.GetImageFromArray(colour.astype(np.uint16) * 200, isVector=True), str(folder / "good_deep_colour.tif")
    )

    scan = mr_like((48, 40, 9), seed=2).image
    sitk.WriteImage(scan, str(folder / "good_volume.nrrd"))
    turned = sitk.PermuteAxes(scan, [2, 0, 1])
    sitk.WriteImage(sitk.Flip(turned, [True, False, False]), str(folder / "good_sagittal.nii.gz"))
    masked = sitk.GetArrayFromImage(scan).astype(np.float32)
    masked[masked < np.percentile(masked, 20)] = np.nan
    masked = sitk.GetImageFromArray(masked)
    masked.CopyInformation(scan)
    sitk.WriteImage(masked, str(folder / "good_masked.nrrd"))
    series = dicom_series(read_volume(folder / "good_volume.nrrd"), name="scan")
    series.slices[4].save_as(folder / "good_slice.dcm", write_like_original=False)

    # Colour NIfTI as 3D Slicer uploads it: (W, H, 1, 1, 3).
    flat = colour.transpose(1, 0, 2)[:, :, None, None, :]
    header = nibabel.Nifti1Header()
    header.set_intent("vector")
    nibabel.save(nibabel.Nifti1Image(flat, np.diag([-0.5, -0.5, 1, 1]), header), folder / "good_colour_nifti.nii.gz")


def write_bad_images(folder: Path) -> None:
    """Images that cannot be used; their ids begin with bad_."""
    (folder / "bad_empty.png").write_bytes(b"")
    (folder / "bad_noise.nii.gz").write_bytes(np.random.default_rng(0).bytes(1000))
    (folder / "bad_text.jpg").write_text("not an image")
    four = np.zeros((8, 8, 4, 3), np.int16)
    nibabel.save(nibabel.Nifti1Image(four, np.eye(4)), folder / "bad_four.nii.gz")
    Image.new("1", (12000, 12000)).save(folder / "bad_huge.png")
    nothing = np.full((8, 8, 4), np.nan, np.float32)
    nibabel.save(nibabel.Nifti1Image(nothing, np.eye(4)), folder / "bad_nan.nii.gz")
    whole = dermoscopy_like((72, 96)).image
    Image.fromarray(whole).save(folder / "bad_cut.png")
    data = (folder / "bad_cut.png").read_bytes()
    (folder / "bad_cut.png").write_bytes(data[: len(data) // 2])


@pytest.fixture(scope="session")
def server(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    studies = folder / "studies"
    write_sample_studies(studies)
    write_good_images(studies)
    write_bad_images(studies)
    with running_server(
        studies,
        folder,
        conf={"checkpoint": str(tiny_checkpoint), "device": "cpu"},
        # As many threads as here, so that sums of floats are the same.
        environment={"OMP_NUM_THREADS": str(torch.get_num_threads())},
    ) as running:
        yield running


@pytest.fixture(scope="session")
def worn_server(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for tests that do to it whatever they like: few images, caches and uploads of 1 MB, nothing scored."""
    folder = tmp_path_factory.mktemp("worn_server")
    studies = folder / "studies"
    studies.mkdir()
    Image.fromarray(dermoscopy_like((72, 96), seed=3).image).save(studies / "picture.png")
    sitk.WriteImage(mr_like((24, 20, 5), seed=2).image, str(studies / "volume.nrrd"))
    (studies / "broken.png").write_text("not an image")
    conf = {"checkpoint": str(tiny_checkpoint), "device": "cpu", "upload_mb": "1", "cache_mb": "1"}
    conf["finetuned"] = str(folder / "finetuned")
    with running_server(
        studies, folder, conf=conf, environment={"MONAI_LABEL_AUTO_UPDATE_SCORING": "false"}
    ) as running:
        yield running


@pytest.fixture
def served_model(tmp_path: Path) -> ServedModel:
    """A small network of random weights, as tasks have it."""
    path = tmp_path / "model.pt"
    save_checkpoint(path, Checkpoint(make_tiny_model(seed=1)))
    return ServedModel(str(path), device="cpu", cache_bytes=1 << 20)


@pytest.fixture
def client(server: Server, tmp_path: Path) -> MONAILabelClient:
    """The REST client that ships with MONAI Label, and that the 3D Slicer plugin uses."""
    return MONAILabelClient(server.url, tmpdir=str(tmp_path), client_id="tests")


@pytest.fixture(scope="session")
def session(tiny_checkpoint: Path) -> InteractiveSegmenter:
    """The session in this process to which the server's answers are compared."""
    return InteractiveSegmenter.from_pretrained(tiny_checkpoint, device="cpu")


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where temporary files are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder
