import pytest
from hypothesis import given
from hypothesis import strategies as st

from activefreq.data.splits import split_groups
from activefreq.errors import InputError

group_lists = st.lists(st.integers(0, 12).map(lambda number: f"p{number}"), max_size=60)
fraction_lists = (
    st.lists(st.integers(0, 10), min_size=1, max_size=4)
    .filter(any)
    .map(lambda parts: [part / sum(parts) for part in parts])
)


@given(groups=group_lists, fractions=fraction_lists, seed=st.integers(0, 2**32))
def test_every_sample_is_in_one_part_and_no_group_in_two(groups, fractions, seed):
    parts = split_groups(groups, fractions, seed)
    assert sorted(index for part in parts for index in part) == list(range(len(groups)))
    assert all(part == sorted(part) for part in parts)
    sets = [{groups[index] for index in part} for part in parts]
    assert sum(len(names) for names in sets) == len(set(groups))
    for names, fraction in zip(sets, fractions, strict=True):
        assert abs(len(names) - fraction * len(set(groups))) < 1


@given(groups=group_lists, seed=st.integers(0, 2**32), data=st.data())
def test_the_order_and_the_number_of_samples_do_not_matter(groups, seed, data):
    def sides(listed):
        return [{listed[index] for index in part} for part in split_groups(listed, [0.7, 0.2, 0.1], seed)]

    assert sides(groups) == sides(data.draw(st.permutations(groups)) + groups[:3])


def test_the_seed_matters():
    groups = [f"p{number}" for number in range(50)]
    assert split_groups(groups, [0.5, 0.5], 0) == split_groups(groups, [0.5, 0.5], 0)
    assert split_groups(groups, [0.5, 0.5], 0) != split_groups(groups, [0.5, 0.5], 1)


def test_exact_counts():
    groups = [patient for patient in range(507) for _ in range(3)]
    parts = split_groups(groups, [407 / 507, 50 / 507, 50 / 507], 0)
    assert [len(part) for part in parts] == [1221, 150, 150]


def test_a_share_of_less_than_a_group_can_be_empty():
    assert [len(part) for part in split_groups("abc", [0.9, 0.1], 0)] == [3, 0]


def test_fractions_that_cannot_be_meant():
    for fractions in ([0.5, 0.4], [1.5, -0.5], [float("nan"), 1.0], []):
        with pytest.raises(InputError, match="fractions of a split"):
            split_groups("abc", fractions, 0)


def test_a_seed_that_cannot_be_meant():
    with pytest.raises(InputError, match="the seed must be at least 0, not -1"):
        split_groups("abc", [0.5, 0.5], -1)
