"""What is held out, and the groups that no split parts, as file names tell them."""

import numpy as np
import pytest

from signjax.data.splits import (
    by_name,
    by_sequence,
    grouped_split,
    stratified_holdout,
)
from tests.helpers.refusals import refused


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_holdout_takes_its_share_of_each_class():
    labels = seeded().permutation(np.repeat([0, 1, 2], [50, 30, 20]))
    kept, held_out = stratified_holdout(labels, fraction=0.2, rng=seeded())
    assert np.bincount(labels[held_out]).tolist() == [10, 6, 4]
    assert sorted([*kept, *held_out]) == list(range(100))
    assert (np.diff(kept) > 0).all() and (np.diff(held_out) > 0).all()
    again, other = (
        stratified_holdout(labels, fraction=0.2, rng=seeded(seed))[1] for seed in (0, 1)
    )
    assert np.array_equal(held_out, again) and not np.array_equal(held_out, other)
    few = np.repeat([0, 1], [2, 40])
    for fraction in (0.01, 0.99):
        for part in stratified_holdout(few, fraction=fraction, rng=seeded()):
            assert set(few[part]) == {0, 1}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.9])
def test_a_split_parts_no_group_and_keeps_every_class(seed, fraction):
    rng = seeded(seed)
    groups = rng.integers(0, 40, 400) * 3
    labels = rng.integers(0, 4, 400)
    kept, held_out = grouped_split(labels, groups, fraction=fraction, rng=rng)
    assert sorted([*kept, *held_out]) == list(range(400))
    assert not set(groups[kept]) & set(groups[held_out])
    assert set(labels[kept]) == set(labels[held_out]) == {0, 1, 2, 3}
    assert abs(len(held_out) - 400 * fraction) < 20


def test_a_rare_class_is_put_on_both_sides_or_the_split_refused():
    groups = np.repeat(np.arange(20), 5)
    labels = np.zeros(100, int)
    labels[[0, 99]] = 1  # shown by two of 20 people
    for seed in range(20):
        rng = seeded(seed)
        kept, held_out = grouped_split(labels, groups, fraction=0.5, rng=rng)
        assert set(labels[kept]) == set(labels[held_out]) == {0, 1}
    labels[99] = 0
    for wrong in (groups, np.zeros(100, int)):
        with refused("more people"):
            grouped_split(labels, wrong, fraction=0.5, rng=seeded(0))


def persons(*people: str) -> list[int]:
    """The groups of pictures numbered in order, whose classes are the digits given."""
    labels = np.array([int(digit) for digits in people for digit in digits])
    # Listed by class, as folders are; numbers that only natural order sorts.
    listed = np.argsort(labels, kind="stable")
    names = [f"IMG_{98 + index}.JPG" for index in listed]
    groups = np.empty(len(labels), int)
    groups[listed] = by_sequence(names, labels[listed])
    return groups.tolist()


@pytest.mark.parametrize(
    "people",
    [
        ["0123", "0123", "0123"],
        ["0223", "0123"],  # a second try
        ["0213", "0132"],  # swapped
        ["0123", "1023", "012"],  # the first two swapped, then a missing one
        ["0123", "2013", "0123"],  # another class first
        ["012", "123", "0123"],  # no 0: it was lost
        ["03", "0123"],
    ],
)
def test_a_person_ends_where_a_class_comes_again(people):
    expected = [i for i, digits in enumerate(people) for _ in digits]
    assert persons(*people) == expected


def test_names_are_grouped_by_what_the_pattern_finds():
    names = ["anna_1.jpg", "ben_1.jpg", "anna_2.jpg", "cem/ben_2.jpg"]
    assert by_name(names, r"([a-z]+)_").tolist() == [0, 1, 0, 1]
    assert by_name(names, "[a-z]+_").tolist() == [0, 1, 0, 1]
    assert by_name(names[:3], r"^(a|b)(\w)").tolist() == [0, 1, 0]
    assert by_name(["x/1", "y/1", "x/2"], "^(.+)/").tolist() == [0, 1, 0]
    with refused(r"in 3 of 4 file names, such as anna_1.jpg"):
        by_name(names, "/")
