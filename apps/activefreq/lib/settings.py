"""What `monailabel start_server --conf NAME VALUE` can set."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from activefreq.errors import InputError
from activefreq.models.config import MIRRORS
from activefreq.session.segmenter import resolve_device

logger = logging.getLogger(__name__)

NAMES = (
    "checkpoint",
    "device",
    "label",
    "finetuned",
    "cache_mb",
    "scoring_share",
    "mirrors",
    "upload_mb",
    "origins",
)
"""What follows `--conf`."""

_OF_MONAILABEL = "server_mode"


@dataclass(frozen=True)
class AppSettings:
    """Settings of the app; every one has a default.

    Attributes:
        checkpoint: `--conf checkpoint`: a checkpoint's path, or the name of one that ships.
        device: `--conf device`: auto, cpu, cuda or cuda:N.
        label: `--conf label`: what the clicked structure is called in the clients.
        finetuned: `--conf finetuned`: the folder of fine-tuned checkpoints: one is served instead of the one that
            it began with.
        cache_bytes: `--conf cache_mb` (megabytes): what images, their prepared slices, and click states may take, each.
        scoring_share: `--conf scoring_share`: how much of one processor core scoring may use, from above 0 to 1.
        mirrors: `--conf mirrors`: in how many mirror images a click is answered, 1, 2 or 4; None for the
            checkpoint's own setting, which mostly is 1.
        upload_bytes: `--conf upload_mb` (megabytes): the most that one request may upload.
        origins: `--conf origins`: web pages from elsewhere that may use the server, separated by commas, such as
            "https://viewer.example"; "*" for all.
    """

    checkpoint: str = "default"
    device: str = "auto"
    label: str = "lesion"
    finetuned: Path = Path(__file__).resolve().parents[1] / "model" / "finetuned"
    cache_bytes: int = 1 << 30
    scoring_share: float = 0.5
    mirrors: int | None = None
    upload_bytes: int = 2 << 30
    origins: frozenset[str] = frozenset()

    @staticmethod
    def parse(conf: Mapping[str, str]) -> AppSettings:
        """Reads the strings of the command line. Raises `InputError` for a value that cannot be used."""
        _warn_of_unknown(conf)
        defaults = AppSettings()
        try:
            share = float(conf.get("scoring_share", defaults.scoring_share))
        except ValueError:
            raise InputError(f"--conf scoring_share must be a number, not {conf['scoring_share']!r}") from None
        if not 0 < share <= 1:
            raise InputError(f"--conf scoring_share must be above 0 and at most 1, but is {share}")
        return AppSettings(
            checkpoint=conf.get("checkpoint", defaults.checkpoint),
            device=_device(conf.get("device", defaults.device)),
            label=conf.get("label", defaults.label),
            finetuned=Path(conf.get("finetuned", defaults.finetuned)).resolve(),
            cache_bytes=_megabytes(conf, "cache_mb", defaults.cache_bytes, least=0),
            scoring_share=share,
            mirrors=_mirrors(conf),
            upload_bytes=_megabytes(conf, "upload_mb", defaults.upload_bytes, least=1),
            origins=frozenset(origin.strip().rstrip("/") for origin in conf.get("origins", "").split(",")) - {""},
        )


def _warn_of_unknown(conf: Mapping[str, str]) -> None:
    """MONAI Label takes any name; a mistyped one would be a setting that one believes to have made."""
    for name in sorted(conf.keys() - {*NAMES, _OF_MONAILABEL}):
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the names are {', '.join(NAMES)}"
        logger.warning("--conf %s is no setting and changes nothing: %s", name, hint)


def _device(name: str) -> str:
    try:
        resolve_device(name)
    except InputError as error:
        raise InputError(f"--conf device: {error}") from None
    return name


def _mirrors(conf: Mapping[str, str]) -> int | None:
    if "mirrors" not in conf:
        return None
    if conf["mirrors"] not in map(str, MIRRORS):
        raise InputError(f"--conf mirrors must be 1, 2 or 4, not {conf['mirrors']!r}")
    return int(conf["mirrors"])


def _megabytes(conf: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    """Bytes of a setting that is given in megabytes."""
    try:
        megabytes = int(conf.get(name, default >> 20))
    except ValueError:
        raise InputError(f"--conf {name} must be a whole number, not {conf[name]!r}") from None
    if megabytes < least:
        raise InputError(f"--conf {name} must be at least {least}, but is {megabytes}")
    return megabytes << 20
