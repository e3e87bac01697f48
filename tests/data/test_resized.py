from __future__ import annotations

import numpy as np
import pytest

from activefreq.data.discovery import find_samples
from activefreq.data.resized import ResizedSource
from activefreq.errors import InputError


def test_images_and_truth_get_one_size_and_keep_their_names(lesion_folders):
    source = find_samples(lesion_folders.images, lesion_folders.labels)
    resized = ResizedSource(source, 48)
    assert resized.names == source.names
    assert resized.problems == source.problems
    for index in range(len(resized)):
        sample, own = resized[index], source[index]
        assert sample.image.shape[:2] == sample.target.shape == (48, 48)
        assert (sample.name, sample.group, sample.image.dtype) == (own.name, own.group, own.image.dtype)
        assert sample.target.mean() == pytest.approx(own.target.mean(), abs=0.02)


def test_slices_of_volumes_keep_their_intensities(volume_folders):
    source = find_samples(volume_folders.images, volume_folders.labels)
    for index in range(len(source)):
        own, sample = source[index], ResizedSource(source, 96)[index]
        assert sample.image.dtype == own.image.dtype
        assert own.image.min() <= sample.image.min() <= sample.image.max() <= own.image.max()
        assert sample.image.mean() == pytest.approx(own.image.mean(), abs=0.1 * np.ptp(own.image))


def test_a_size_or_an_object_of_which_nothing_is_left(lesion_folders):
    source = find_samples(lesion_folders.images, lesion_folders.labels)
    with pytest.raises(InputError, match="at least 1 pixel, not 0"):
        ResizedSource(source, 0)
    index = int(np.argmin([sample.target.mean() for sample in source]))
    with pytest.raises(InputError, match=f"{source.names[index]}: nothing of the object is left at 1 x 1"):
        ResizedSource(source, 1)[index]
