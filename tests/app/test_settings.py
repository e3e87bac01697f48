from __future__ import annotations

import dataclasses

import pytest

from activefreq.errors import InputError
from lib.settings import NAMES, AppSettings


def test_everything_has_a_default() -> None:
    assert AppSettings.parse({}) == AppSettings()


def test_reads_strings() -> None:
    parsed = AppSettings.parse({"checkpoint": "a b.pt", "device": "cpu", "label": "knee", "cache_mb": "3"})
    assert parsed == AppSettings(checkpoint="a b.pt", device="cpu", label="knee", cache_bytes=3 << 20)


@pytest.mark.parametrize("value", ["many", "1.5", "-1", ""])
@pytest.mark.parametrize("name", ["cache_mb", "upload_mb"])
def test_a_bad_size_is_named(name: str, value: str) -> None:
    with pytest.raises(InputError, match=name):
        AppSettings.parse({name: value})


@pytest.mark.parametrize("value", ["cuda:99", "quantum", ""])
def test_a_device_that_is_not_there_is_named_at_once(value: str) -> None:
    with pytest.raises(InputError, match="--conf device: "):
        AppSettings.parse({"device": value})


def test_mirror_images_are_the_checkpoints_affair_unless_they_are_set() -> None:
    assert AppSettings.parse({}).mirrors is None
    assert AppSettings.parse({"mirrors": "4"}).mirrors == 4


@pytest.mark.parametrize("value", ["3", "0", "many", ""])
def test_a_bad_number_of_mirror_images_is_named(value: str) -> None:
    with pytest.raises(InputError, match="mirrors must be 1, 2 or 4"):
        AppSettings.parse({"mirrors": value})


def test_origins_are_told_apart_by_commas() -> None:
    assert AppSettings.parse({"origins": "https://a.example/, http://b:81"}).origins == {
        "https://a.example",
        "http://b:81",
    }
    assert AppSettings.parse({"origins": ""}).origins == frozenset()


def test_a_name_that_is_no_setting_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert AppSettings.parse({"mirror": "4", "colour": "red", "device": "cpu"}) == AppSettings(device="cpu")
    told = [record.getMessage() for record in caplog.records]
    assert told[0].startswith("--conf colour is no setting and changes nothing: the names are checkpoint, ")
    assert told[1:] == ["--conf mirror is no setting and changes nothing: did you mean mirrors?"]


def test_no_setting_is_taken_for_a_mistyped_one(caplog: pytest.LogCaptureFixture) -> None:
    given = dict.fromkeys((*NAMES, "server_mode"), "1") | {"device": "cpu"}
    assert AppSettings.parse(given).mirrors == 1
    assert caplog.records == []
    for field in dataclasses.fields(AppSettings):
        assert field.name.replace("_bytes", "_mb") in NAMES
