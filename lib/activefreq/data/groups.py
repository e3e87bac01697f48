"""Which samples belong together: the group (patient, lesion) that a split must not divide."""

from __future__ import annotations

import re
from collections.abc import Callable

from activefreq.errors import InputError

Grouping = Callable[[str], str]
"""Maps the stem of an image file to the name of its group."""


def resolve_grouping(group: str | Grouping | None) -> Grouping:
    """Returns the grouping that an option asks for.

    Args:
        group: None: every file is a group of its own (all slices of a volume share it).
            The name of a rule in `GROUPING_RULES`. A regular expression: what its first group (or, without
            one, the whole expression) matches at the start of the stem. Or a function of the stem.

    Raises:
        InputError: The regular expression is wrong; or, later, a stem does not match.
    """
    if group is None:
        return _itself
    if callable(group):
        return group
    if group in GROUPING_RULES:
        return GROUPING_RULES[group]
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise InputError(
            f"group {group!r} is neither a rule ({', '.join(GROUPING_RULES)}) nor a pattern: {error}"
        ) from error
    return _by_pattern(pattern)


def _itself(stem: str) -> str:
    return stem


def _by_pattern(pattern: re.Pattern[str]) -> Grouping:
    def grouping(stem: str) -> str:
        match = pattern.match(stem)
        if match is None or match.group(min(1, pattern.groups)) is None:
            raise InputError(f"the group pattern {pattern.pattern!r} does not match the name {stem!r}")
        return match.group(min(1, pattern.groups))

    return grouping


def _neighbouring_numbers(stem: str) -> str:
    match = re.fullmatch(r"(.*?)(\d+)", stem)
    if match is None:
        raise InputError(f"the name {stem!r} does not end in a number, as the rule decathlon-hippocampus needs")
    return f"{match.group(1)}{(int(match.group(2)) + 1) // 2:03d}"


# Pairs of images of the ISIC-2017 training part that show the same lesion.
_SAME_LESION = {
    "ISIC_0013594": "ISIC_0012290",
    "ISIC_0012673": "ISIC_0012672",
    "ISIC_0013184": "ISIC_0012756",
}

GROUPING_RULES: dict[str, Grouping] = {
    # Patient of the Sunnybrook Cardiac Data: "SC-HF-I-01-IM-0001-0048" gives "SC-HF-I-01".
    "sunnybrook": _by_pattern(re.compile(r"(SC-(?:HF-I|HF-NI|HYP|N)-\d+)")),
    # Hippocampus task of the Medical Segmentation Decathlon: 2n - 1 and 2n look like one subject.
    "decathlon-hippocampus": _neighbouring_numbers,
    # Near-duplicate photographs in the training part of ISIC-2017.
    "isic2017": lambda stem: _SAME_LESION.get(stem, stem),
}
