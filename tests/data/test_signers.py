"""Groups come from file names as documented, and no split ever parts one."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.ankara_signers import file_numbers, link_fold
from signjax import build
from signjax.config import check, default_config
from signjax.data.dataset import Dataset
from signjax.data.folder import read_folder
from signjax.data.splits import by_name, by_sequence, find_groups
from signjax.errors import InputError

PARTS = ("train", "test")
TABLE = Path(__file__).parents[2] / "experiments" / "ankara_signers.csv"


def turns(*people: str) -> list[int]:
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
def test_a_person_ends_where_a_class_comes_again(people: list[str]) -> None:
    expected = [i for i, digits in enumerate(people) for _ in digits]
    assert turns(*people) == expected


def test_names_are_grouped_by_what_the_pattern_finds() -> None:
    names = ["anna_1.jpg", "ben_1.jpg", "anna_2.jpg", "cem/ben_2.jpg"]
    assert by_name(names, r"([a-z]+)_").tolist() == [0, 1, 0, 1]
    assert by_name(names, "[a-z]+_").tolist() == [0, 1, 0, 1]
    assert by_name(names[:3], r"^(a|b)(\w)").tolist() == [0, 1, 0]
    assert by_name(["x/1", "y/1", "x/2"], "^(.+)/").tolist() == [0, 1, 0]
    with pytest.raises(InputError, match=r"in 3 of 4 file names, such as anna_1.jpg"):
        by_name(names, "/")
    labels = np.array([0, 0, 1, 1])
    assert (
        find_groups(names, labels, "sequence").tolist()
        == by_sequence(names, labels).tolist()
    )


def write(path: Path, person: int, label: int, shade: int = 0) -> None:
    """A picture that says who shows what in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (person, label, shade)).save(path)


def people(data: Dataset) -> set[int]:
    return set(data.images[:, 0, 0, 0].tolist())


def test_a_folder_is_split_by_person_for_test_and_validation(tmp_path: Path) -> None:
    for person in range(20):
        for label in range(3):
            write(tmp_path / str(label) / f"p{person}_{label}.png", person, label)
    config = default_config()
    config.data.source, config.data.dir = "folder", str(tmp_path)
    config.data.image_size = 32
    config.data.group = "^(p[0-9]+)_"
    config.data.validation_fraction = 0.25
    check(config)
    splits = build.load_splits(config, pytest.fail)
    train, validation = build.hold_out_validation(config, splits.train)
    assert validation is not None
    parts = [people(part) for part in (train, validation, splits.test)]
    assert list(map(len, parts)) == [12, 4, 4]
    assert set.union(*parts) == set(range(20))
    assert len(train.labels) == 36
    assert train.images[:, 0, 0, 1].tolist() == train.labels.tolist()
    assert np.count_nonzero(np.diff(splits.train.labels)) > 10  # classes mixed


def test_a_pair_that_shares_a_person_is_refused(tmp_path: Path) -> None:
    for part, persons in (("train", (0, 1)), ("test", (2, 3))):
        for person in persons:
            for label in range(2):
                write(tmp_path / part / str(label) / f"{person}.png", person, label)
    options = {"image_size": 4, "test_fraction": 0.5, "seed": 0, "group": r"^\d+"}
    train, test = read_folder(tmp_path, **options)
    assert (people(train), people(test)) == ({0, 1}, {2, 3})
    write(tmp_path / "test" / "1" / "0.png", 0, 1)
    with pytest.raises(InputError, match="1 images of test/ belong to groups"):
        read_folder(tmp_path, **options)


@pytest.mark.parametrize(
    ("rule", "source", "told"),
    [("(", "folder", "regular expression"), ("sequence", "auto", "only folders")],
)
def test_rules_that_cannot_be_meant(rule: str, source: str, told: str) -> None:
    config = default_config()
    config.data.group, config.data.source = rule, source
    with pytest.raises(InputError, match=rf"config.data.group is .*{told}"):
        check(config)


def table() -> list[dict[str, str]]:
    with TABLE.open() as file:
        return list(csv.DictReader(file))


def test_the_ankara_table_halves_the_signers() -> None:
    rows = table()
    assert [int(row["signer"]) for row in rows] == list(range(104))
    halves = [row["half"] for row in rows]
    assert halves.count("development") == 54 and halves.count("held-out") == 50
    for row in rows:
        assert int(row["first"]) <= int(row["last"])
    ranges = [(int(row["first"]), int(row["last"])) for row in rows]
    assert all(a[1] < b[0] for a, b in zip(ranges, ranges[1:], strict=False))


def test_each_signer_held_out_is_tested_by_one_fold_alone(
    shared: Path, tmp_path: Path
) -> None:
    folder = shared / "datasets" / "ankara_digits"
    tested: list[int] = []
    for fold in range(3):
        link_fold(folder, fold, tmp_path / str(fold))
        parts = [sorted((tmp_path / str(fold) / p).glob("*/*")) for p in PARTS]
        assert sum(map(len, parts)) == 1032
        train, test = (file_numbers(files) for files in parts)
        assert not set(train) & set(test)
        tested += test.tolist()
    expected: list[int] = []
    for row in table():
        members = [n for n in tested if int(row["first"]) <= n <= int(row["last"])]
        if row["half"] == "held-out":
            assert len(members) == int(row["pictures"])
            expected += members
    assert sorted(tested) == sorted(expected)


def test_the_ankara_signers_are_those_of_the_table(shared: Path) -> None:
    folder = shared / "datasets" / "ankara_digits"
    files = sorted(folder.glob("*/*.JPG"))
    labels = np.array([int(file.parent.name) for file in files])
    groups = by_sequence([file.name for file in files], labels)
    numbers = np.array([int(re.sub(r"\D", "", file.stem)) for file in files])
    for row in table():
        members = numbers[groups == int(row["signer"])]
        assert [members.min(), members.max()] == [int(row["first"]), int(row["last"])]
        assert len(members) == int(row["pictures"])
    assert len(set(groups.tolist())) == 104
    # All but four showed every digit, and those four lack pictures at one end.
    shown = [frozenset(labels[groups == g].tolist()) for g in range(104)]
    assert sum(len(digits) == 10 for digits in shown) == 100
