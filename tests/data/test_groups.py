import re

import pytest

from activefreq.data.groups import GROUPING_RULES, resolve_grouping
from activefreq.errors import InputError


def test_without_a_rule_every_file_is_a_group():
    assert resolve_grouping(None)("scan_001") == "scan_001"


def test_patterns():
    assert resolve_grouping(r"([a-z]+)-\d+")("abc-12-x") == "abc"
    assert resolve_grouping(r"\d{3}")("1234") == "123"
    with pytest.raises(InputError, match=re.escape(r"pattern '(\\d+)' does not match the name 'abc'")):
        resolve_grouping(r"(\d+)")("abc")
    with pytest.raises(InputError, match=r"group '\(' is neither a rule \(sunnybrook, .*\) nor a pattern"):
        resolve_grouping("(")


def test_functions():
    assert resolve_grouping(str.upper)("abc") == "ABC"


@pytest.mark.parametrize(
    ("rule", "stem", "group"),
    [
        ("sunnybrook", "SC-HF-I-01-IM-0001-0048", "SC-HF-I-01"),
        ("sunnybrook", "SC-HF-NI-12-IM-0001-0140", "SC-HF-NI-12"),
        ("sunnybrook", "SC-HYP-03-IM-0001-0020", "SC-HYP-03"),
        ("sunnybrook", "SC-N-40-IM-0001-0220", "SC-N-40"),
        ("decathlon-hippocampus", "hippocampus_001", "hippocampus_001"),
        ("decathlon-hippocampus", "hippocampus_002", "hippocampus_001"),
        ("decathlon-hippocampus", "hippocampus_003", "hippocampus_002"),
        ("decathlon-hippocampus", "hippocampus_394", "hippocampus_197"),
        ("isic2017", "ISIC_0012673", "ISIC_0012672"),
        ("isic2017", "ISIC_0012672", "ISIC_0012672"),
        ("isic2017", "ISIC_0000000", "ISIC_0000000"),
    ],
)
def test_rules(rule, stem, group):
    assert GROUPING_RULES[rule](stem) == group


def test_rules_refuse_names_of_other_data_sets():
    with pytest.raises(InputError, match="ISIC_x"):
        GROUPING_RULES["sunnybrook"]("ISIC_x")
    with pytest.raises(InputError, match="does not end in a number"):
        GROUPING_RULES["decathlon-hippocampus"]("scan_a")
