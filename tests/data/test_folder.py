"""Class-named folders become a stratified, repeatable split."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from signjax.data.dataset import Splits
from signjax.data.folder import read_folder, read_labelled
from signjax.errors import InputError

ANKARA = Path(__file__).parents[2] / "shared" / "datasets" / "ankara_digits"


def paint(path, red, green=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (red, green, 0)).save(path)


def make(directory, counts):
    """`counts[name]` pictures a class: red tells the class, green the picture."""
    for red, (name, count) in enumerate(counts.items()):
        for green in range(count):
            paint(directory / name / f"{green}.png", red, green)


def read(directory, **options):
    options = {"image_size": 4, "test_fraction": 0.2, "seed": 0} | options
    return read_folder(directory, **options)


def identities(data):
    """(class, picture) of every image, from its pixels."""
    return [tuple(pixel) for pixel in data.images[:, 0, 0, :2].tolist()]


COUNTS = {"2": 10, "10": 20, "eleven": 5, "zwei": 2}


def test_the_split_is_stratified_and_disjoint_and_complete(tmp_path):
    make(tmp_path, COUNTS)
    train, test = read(tmp_path)
    assert train.classes == test.classes == ("2", "10", "eleven", "zwei")
    assert np.bincount(test.labels).tolist() == [2, 4, 1, 1]
    assert np.bincount(train.labels).tolist() == [8, 16, 4, 1]
    everything = sorted(identities(train) + identities(test))
    assert everything == [
        (k, i) for k, n in enumerate(COUNTS.values()) for i in range(n)
    ]
    for part in (train, test):
        assert part.images[:, 0, 0, 0].tolist() == part.labels.tolist()
        assert (part.images.dtype, part.labels.dtype) == (np.uint8, np.int32)


def test_the_seed_decides_the_split(tmp_path):
    make(tmp_path, {"a": 30, "b": 30})
    first, again, other = (read(tmp_path, seed=seed) for seed in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.images, b.images)
    assert identities(first[1]) != identities(other[1])


def test_training_images_come_with_mixed_classes(tmp_path):
    make(tmp_path, {"a": 30, "b": 30})
    assert 10 < np.count_nonzero(np.diff(read(tmp_path)[0].labels)) < 40
    make(tmp_path / "pair" / "train", {"a": 30, "b": 30})
    make(tmp_path / "pair" / "test", {"a": 1, "b": 1})
    assert 15 < np.count_nonzero(np.diff(read(tmp_path / "pair")[0].labels)) < 45


def test_a_train_and_test_pair_wins(tmp_path):
    make(tmp_path / "train", {"a": 3, "b": 4})
    make(tmp_path / "test", {"a": 2, "b": 1})
    make(tmp_path / "val", {"a": 2, "b": 1})
    train, test = read(tmp_path, test_fraction=0.9)
    assert np.bincount(train.labels).tolist() == [3, 4]
    assert np.bincount(test.labels).tolist() == [2, 1]
    assert identities(read_labelled(tmp_path, image_size=4)) == identities(test)


def test_the_pair_must_have_the_same_classes(tmp_path):
    make(tmp_path / "train", {"a": 3, "b": 4, "c": 1})
    make(tmp_path / "test", {"a": 2, "b": 1, "d": 1})
    with pytest.raises(InputError, match="only in train/: c; only in test/: d"):
        read(tmp_path)
    # A model is asked about test/ alone.
    assert read_labelled(tmp_path, image_size=4).classes == ("a", "b", "d")


def test_what_is_to_be_labelled_may_be_of_one_class(tmp_path):
    make(tmp_path, {"a": 3})
    assert read_labelled(tmp_path, image_size=4).classes == ("a",)
    with pytest.raises(InputError, match="class folders found: a; expected two or"):
        read(tmp_path)


def test_a_bad_picture_to_train_on_does_not_hinder_a_test(tmp_path):
    for part in ("train", "test"):
        make(tmp_path / part, {"a": 2, "b": 2})
    (tmp_path / "train" / "a" / "0.png").write_bytes(b"")
    assert len(read_labelled(tmp_path, image_size=4).labels) == 4


def test_half_a_pair_is_not_taken_for_classes(tmp_path):
    make(tmp_path / "train", {"a": 3, "b": 4})
    make(tmp_path / "val", {"a": 3, "b": 4})
    with pytest.raises(InputError, match="train/ and test/ only one is there"):
        read(tmp_path)


def test_junk_beside_the_classes_is_passed_over(tmp_path):
    make(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "LICENSE").write_text("free")
    (tmp_path / "a" / "Thumbs.db").write_bytes(b"junk")
    for hidden in (".git/x.png", "__MACOSX/x.png", "a/.x.png"):
        paint(tmp_path / hidden, 9)
    data = read_labelled(tmp_path, image_size=4)
    assert data.classes == ("a", "b")
    assert identities(data) == [(k, i) for k in range(2) for i in range(3)]


def test_unreadable_images_are_named_together(tmp_path):
    make(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "a" / "1.png").write_bytes(b"")
    (tmp_path / "b" / "2.png").write_bytes(b"<html>")
    with pytest.raises(InputError, match=r"2 of 6 .*a.1\.png: .*b.2\.png: .*web page"):
        read(tmp_path)


def test_layouts_that_cannot_be_meant(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(InputError, match="found: none; expected two or more"):
        read(tmp_path)
    make(tmp_path, {"a": 3})
    with pytest.raises(InputError, match="found: a; expected two"):
        read(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        read(tmp_path / "a" / "0.png")
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match="b: no images in this folder"):
        read(tmp_path)
    paint(tmp_path / "b" / "0.png", 1)
    with pytest.raises(InputError, match="class b has one image"):
        read(tmp_path)
    for fraction in (0, 1, -0.5):
        with pytest.raises(InputError, match="expected between 0 and 1"):
            read(tmp_path, test_fraction=fraction)


@pytest.mark.skipif(not ANKARA.is_dir(), reason="the Ankara digits are not here")
def test_the_ankara_digits():
    train, test = read(ANKARA, image_size=64)
    assert train.classes == tuple("0123456789")
    assert len(train.images) + len(test.images) == 1032
    assert set(np.bincount(test.labels)) <= {20, 21}
    assert train.images.shape[1:] == (64, 64, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="file names may be text alone")
def test_a_class_whose_name_is_no_text_can_be_learned(tmp_path):
    make(tmp_path, {"\udcff": 2, "b": 2})
    train, test = read(tmp_path, test_fraction=0.5)
    assert train.classes == ("b", "\udcff")
    assert len(Splits(train, test, source="folder", origin="").sha256) == 64
