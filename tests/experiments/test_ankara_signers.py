"""The signers of the Ankara digits, as the file numbers tell them apart."""

import csv
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from experiments import ankara_signers
from experiments.ankara_signers import TABLE, file_numbers, link_fold
from signjax.data import ankara
from signjax.data.splits import by_sequence


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
        parts = [
            sorted((tmp_path / str(fold) / p).glob("*/*")) for p in ("train", "test")
        ]
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


def test_the_table_of_digests_is_written_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {f"{c}/IMG_{i}.JPG": f"{c} {i}".encode() for c in "01" for i in "78"}
    for name, data in images.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    for module in (ankara, ankara_signers):
        monkeypatch.setattr(module, "DIGESTS", tmp_path / "table.csv")
    monkeypatch.setattr("sys.argv", ["ankara_signers", str(tmp_path), "--digests"])
    ankara_signers.main()
    digests = {k: hashlib.sha256(v).hexdigest() for k, v in images.items()}
    assert list(ankara.read_digests().items()) == list(digests.items())
