"""The packages in requirements.txt must fit together: with pydicom 3, DICOM-SEG can be neither written nor read."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from monailabel.datastore.utils.convert import dicom_seg_to_itk_image, nifti_to_dicom_seg

from activefreq.data.sample_studies import mr_like
from activefreq.files.dicom import dicom_series, write_dicom
from activefreq.files.volumes import read_volume


@pytest.mark.parametrize("use_itk", [True, False], ids=["dcmqi", "pydicom_seg"])
def test_a_mask_survives_the_way_through_dicom_seg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use_itk: bool
) -> None:
    # dcmqi's program lies beside the interpreter, whose environment need not be active.
    scripts = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")
    sample = mr_like((40, 48, 10))
    sitk.WriteImage(sample.image, str(tmp_path / "scan.nrrd"))
    write_dicom(dicom_series(read_volume(tmp_path / "scan.nrrd"), name="scan"), tmp_path / "series")
    label = sitk.GetImageFromArray(sample.mask.astype(np.uint8))
    label.CopyInformation(sample.image)
    sitk.WriteImage(label, str(tmp_path / "label.nii.gz"))

    info = [{"name": "lesion", "idx": 1, "description": "lesion", "model_name": "activefreq"}]
    segmentation = nifti_to_dicom_seg(str(tmp_path / "series"), str(tmp_path / "label.nii.gz"), info, use_itk=use_itk)
    back = sitk.ReadImage(dicom_seg_to_itk_image(segmentation))

    # A SEG may hold the slices of the object only; on the image's grid it is the mask again.
    resampled = sitk.Resample(back, sample.image, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    assert sample.mask.sum() > 50
    np.testing.assert_array_equal(sitk.GetArrayFromImage(resampled) == 1, sample.mask)
