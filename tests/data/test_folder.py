"""Class-named folders become a stratified, repeatable split that parts no group."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from signjax.data.dataset import Dataset, Splits
from signjax.data.folder import read_folder
from signjax.data.image import CropResize
from signjax.data.parts import load_labelled
from tests.helpers.datasets import paint, paint_classes, write_signs_pair
from tests.helpers.refusals import refused

COUNTS = {"2": 10, "10": 20, "eleven": 5, "zwei": 2}


def read(directory: Path, **options: Any) -> Splits:
    size = options.pop("image_size", 4)
    options = {"test_fraction": 0.2, "seed": 0} | options
    return read_folder(directory, size, CropResize(), **options)


def labelled(directory: Path, **options: Any) -> Dataset:
    return load_labelled(directory, 4, CropResize(), **options)[0]


def identities(data: Dataset) -> list[tuple[int, int]]:
    """(class, image) of every image, from its pixels."""
    return [tuple(pixel) for pixel in data.images[:, 0, 0, :2].tolist()]


def reds(data: Dataset | None) -> set[int]:
    assert data is not None
    return {red for red, _ in identities(data)}


def test_the_split_is_stratified_and_disjoint_and_complete(tmp_path):
    paint_classes(tmp_path, COUNTS)
    train, test, *_ = read(tmp_path)
    assert train.classes == test.classes == ("2", "10", "eleven", "zwei")
    assert np.bincount(test.labels).tolist() == [2, 4, 1, 1]
    assert np.bincount(train.labels).tolist() == [8, 16, 4, 1]
    everything = sorted(identities(train) + identities(test))
    counts = enumerate(COUNTS.values())
    assert everything == [(k, i) for k, n in counts for i in range(n)]
    for part in (train, test):
        assert part.images[:, 0, 0, 0].tolist() == part.labels.tolist()
        assert (part.images.dtype, part.labels.dtype) == (np.uint8, np.int32)


def test_the_seed_decides_the_split_and_the_order(tmp_path):
    paint_classes(tmp_path, {"a": 30, "b": 30})
    first, again, other = (read(tmp_path, seed=seed) for seed in (1, 1, 2))
    assert first.sha256 == again.sha256
    assert identities(first.test) != identities(other.test)
    assert 10 < np.count_nonzero(np.diff(first.train.labels)) < 40  # classes mixed
    pair = tmp_path / "pair"
    paint_classes(pair / "train", {"a": 30, "b": 30})
    paint_classes(pair / "test", {"a": 1, "b": 1})
    assert 15 < np.count_nonzero(np.diff(read(pair).train.labels)) < 45


@pytest.mark.parametrize("names", [("train", "test", "val"), ("Train", "TEST", "dev")])
def test_folders_of_splits_are_the_splits(tmp_path, names):
    for name, counts in zip(names, ((3, 4), (2, 1), (1, 2)), strict=True):
        paint_classes(tmp_path / name, dict(zip("ab", counts, strict=True)))
    splits = read(tmp_path, test_fraction=0.9)
    assert np.bincount(splits.train.labels).tolist() == [3, 4]
    assert np.bincount(splits.test.labels).tolist() == [2, 1]
    assert splits.validation is not None
    assert np.bincount(splits.validation.labels).tolist() == [1, 2]
    data, left_out = load_labelled(tmp_path, 4, CropResize())
    assert identities(data) == identities(splits.test)
    assert left_out == {"images of train": 7, "images of validation": 3}
    lines = splits.describe(splits.train, splits.validation)
    assert lines["data"].endswith("; 7 train, 3 validation, 3 test images")
    assert lines["classes"] == "2, train/test images: a 3/2, b 4/1"
    assert lines.keys() == {"data", "classes"}
    # The validation images are part of what tells the data by.
    paint(tmp_path / names[2] / "b" / "9.png", 9, 9)
    assert read(tmp_path).sha256 != splits.sha256


def test_splits_must_have_the_same_classes(tmp_path):
    paint_classes(tmp_path / "train", {"a": 3, "b": 4, "c": 1})
    paint_classes(tmp_path / "test", {"a": 2, "b": 1, "d": 1})
    with refused("differ in classes: d only in test/, c only in train/"):
        read(tmp_path)
    # A model is asked about test/ alone, and a bad image to train on is no hindrance.
    (tmp_path / "train" / "a" / "0.png").write_bytes(b"")
    assert labelled(tmp_path).classes == ("a", "b", "d")


def test_half_a_pair_is_not_taken_for_classes(tmp_path):
    paint_classes(tmp_path / "train", {"a": 3, "b": 4})
    paint_classes(tmp_path / "val", {"a": 3, "b": 4})
    with refused("of the splits only train, validation is"):
        read(tmp_path)
    with refused("train, validation without test: name"):
        labelled(tmp_path)


def test_unreadable_images_are_named_together(tmp_path):
    paint_classes(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "a" / "1.png").unlink()
    (tmp_path / "a" / "1.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "b" / "2.png").write_bytes(b"<html>")
    with refused(r"2 of 6 .*a.1\.png: no such file.*b.2\.png: .*web page"):
        read(tmp_path)


def test_classes_that_cannot_be_split(tmp_path):
    paint_classes(tmp_path, {"a": 3})
    assert labelled(tmp_path).classes == ("a",)
    with refused("its only class is a; expected two or"):
        read(tmp_path)
    (tmp_path / "b").mkdir()
    for function in (read, labelled):
        with refused("no images in the class folders b"):
            function(tmp_path)
    paint(tmp_path / "b" / "0.png", 1)
    with refused("class b has 1 images in 1 parts"):
        read(tmp_path)
    shutil.copy(tmp_path / "b" / "0.png", tmp_path / "b" / "1.png")
    with refused("class b has 2 images in 1 parts .copies or groups."):
        read(tmp_path)


@pytest.mark.parametrize("group", ["", "^(.)_"])
def test_copies_of_a_file_are_never_parted(tmp_path, group):
    for label in range(2):
        for i in range(12):
            # Files 10 and 11 are copies of 0 and 1, of other signers by their names.
            name = f"{'abcdef'[i // 2]}_{i}.png"
            paint(tmp_path / str(label) / name, 100 * label + i % 10)
    for seed in range(10):
        options = {"test_fraction": 0.4, "seed": seed, "group": group}
        parts = read(tmp_path, **options)[:2]
        train, test = map(reds, parts)
        assert len(train) + len(test) == 20 and not train & test
        streamed = read(tmp_path, stream=True, **options)[:2]
        for part, again in zip(parts, streamed, strict=True):
            assert np.array_equal(part.images, again.images[:])


def test_a_copy_under_another_class_does_not_hinder_a_split(tmp_path):
    # Two images a class: held out without regard to classes, no split has each twice.
    for label in range(20):
        for i in range(2):
            paint(tmp_path / str(label) / f"{i}.png", (label + 1) * i)
    train, test, *_ = read(tmp_path, test_fraction=0.5)
    assert sorted(train.labels) == sorted(test.labels) == list(range(20))


def test_splits_that_share_a_person_are_refused(tmp_path):
    for part, people in (("train", "abc"), ("valid", "d"), ("test", "ef")):
        for person in people:
            for label in range(2):
                path = tmp_path / part / str(label) / f"{person}_{label}.png"
                paint(path, ord(person), label)
    folder = tmp_path / "train" / "0"
    # A copy makes one group of two people, and does not hide who is in both splits.
    shutil.copy(folder / "a_0.png", folder / "c_3.png")
    splits = read(tmp_path, group="^(.)_")
    parts = (splits.train, splits.validation, splits.test)
    assert [reds(part) for part in parts] == [{97, 98, 99}, {100}, {101, 102}]
    assert splits.train.groups is not None and len(set(splits.train.groups)) == 2
    for part in ("test", "valid"):
        shutil.copy(folder / "c_0.png", tmp_path / part / "0" / "c_0.png")
        with refused(f"1 images of {part}.*/ belong to groups"):
            read(tmp_path, group="^(.)_")
        (tmp_path / part / "0" / "c_0.png").unlink()


def test_a_folder_a_person_is_read_by_its_rule_alone(tmp_path):
    for person in range(10):
        for label in range(2):
            paint(tmp_path / "ab"[label] / f"p{person}" / "x.png", person, label)
    with refused(r"p0/x.png is deeper.*group='\^\(\.\+\)/'"):
        read(tmp_path)
    splits = read(tmp_path, group="^(.+)/")
    assert reds(splits.train) | reds(splits.test) == set(range(10))
    assert not reds(splits.train) & reds(splits.test)
    assert len(labelled(tmp_path)) == 20


def test_files_of_signs_are_a_folder_of_splits_too(tmp_path):
    splits = read(write_signs_pair(tmp_path))
    assert (len(splits.train), len(splits.test)) == (12, 6)


@pytest.mark.skipif(sys.platform != "linux", reason="file names may be text alone")
def test_a_class_whose_name_is_no_text_can_be_trained_on(tmp_path):
    paint_classes(tmp_path, {"\udcff": 2, "b": 2})
    splits = read(tmp_path, test_fraction=0.5)
    assert splits.train.classes == ("b", "\udcff")
    assert len(splits.sha256) == 64
