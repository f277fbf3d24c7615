"""The SIGNS files are read as they are, and every wrong file is told apart."""

import hashlib

import h5py
import numpy as np
import pytest

from signjax.data.signs import SIGNS_FILES, read_signs, read_signs_file
from tests.helpers.datasets import write_signs, write_signs_pair
from tests.helpers.refusals import refused


def test_a_file_is_read_as_it_is(tmp_path):
    path = tmp_path / "a.h5"
    for split in ("train", "test"):
        images, labels = write_signs(path, split, labels=np.arange(12, dtype="u1") % 6)
        data = read_signs_file(path, None)
        np.testing.assert_array_equal(data.images, images)
        np.testing.assert_array_equal(data.labels, labels)
        assert (data.images.dtype, data.labels.dtype) == (np.uint8, np.int32)
        assert data.classes == ("0", "1", "2", "3", "4", "5")
        assert data.names is not None and data.names[11] == "a.h5[11]"
    with h5py.File(path, "a") as file:
        file["train_set_x"] = np.zeros((2, 64, 64, 3), np.uint8)
        file["train_set_y"] = np.array([3, 4])
    assert len(read_signs_file(path, None)) == 12  # the test, of both
    assert read_signs_file(path, "train").labels.tolist() == [3, 4]


@pytest.mark.parametrize("names", [[b"fist", b"palm"], ["fist", "caf\u00e9"]])
def test_classes_may_have_names(tmp_path, names):
    write_signs(tmp_path / "a.h5", labels=np.arange(12) % 2, classes=[0, 1])
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["list_classes"]
        file["list_classes"] = names
    expected = tuple(n.decode() if isinstance(n, bytes) else n for n in names)
    assert read_signs_file(tmp_path / "a.h5", None).classes == expected


IMAGES = np.zeros((12, 64, 64, 3), np.uint8)
LABELS = np.arange(12) % 6


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"images": IMAGES / np.float32(255)}, "set_x is float32.*already scaled"),
        ({"images": IMAGES[..., 0]}, r"\(12, 64, 64\); expected \(N, H"),
        ({"images": IMAGES.transpose(0, 3, 1, 2)}, r"\(12, 3, 64"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, r"\(0, 64, 64, 3\)"),
        ({"images": IMAGES[:11]}, r"set_y is int64 \(12,\); expected a label for each"),
        ({"labels": LABELS / 1.0}, "train_set_y is float64"),
        ({"labels": LABELS + 2}, "run from 2 to 7; expected 0 to 5"),
        ({"labels": LABELS - 1}, "from -1 to 4"),
        ({"classes": [0, 1, 1, 3, 4, 5]}, "expected two or more different"),
        ({"classes": [b"non-cat", b"cat"]}, "cat / non-cat.*train_catvnoncat.h5"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, arrays, told):
    write_signs(tmp_path / "wrong.h5", **arrays)
    with refused(f"wrong.h5: .*{told}"):
        read_signs_file(tmp_path / "wrong.h5", "train")


LINKS = h5py.ExternalLink("o.h5", "train_set_x"), h5py.SoftLink("/x")


@pytest.mark.parametrize("missing", ["train_set_x", "train_set_y", "list_classes"])
@pytest.mark.parametrize("other", [None, *LINKS, h5py.Empty("f")])
def test_missing_keys_are_named_with_those_present(tmp_path, missing, other):
    """Nor is an array read from another file on this machine, as a file may ask for."""
    write_signs(tmp_path / "o.h5")
    write_signs(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file[missing]
        if other:
            file[missing] = other
        present = ", ".join(sorted(file))
    with refused(f"no array {missing} in this HDF5 file .it has {present}"):
        read_signs_file(tmp_path / "a.h5", "train")


def test_pixels_of_another_file_are_not_read(tmp_path):
    write_signs(tmp_path / "a.h5")
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(12 * 64 * 64 * 3))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["train_set_x"]
        raw = [(str(secret), 0, 12 * 64 * 64 * 3)]
        file.create_dataset("train_set_x", IMAGES.shape, "u1", external=raw)
    with refused("no array train_set_x"):
        read_signs_file(tmp_path / "a.h5", "train")


@pytest.mark.parametrize("key", ["train_set_x", "list_classes"])
def test_an_array_that_its_file_cannot_hold_is_refused(tmp_path, key):
    write_signs(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file[key]
        shape = (10**9, 64, 64, 3)
        file.create_dataset(key, shape, "u1", chunks=(1, 64, 64, 3))
    with refused(f"{key} claims 12,288,000,000,000 bytes"):
        read_signs_file(tmp_path / "a.h5", "train")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\n\n<!DOCTYPE html>\n<html lang=en>", "saved web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha", "Git LFS pointer"),
        (b"label,pixel1\n", "unknown content.*label,pi"),
    ],
)
def test_wrong_content_is_named(tmp_path, content, told):
    (tmp_path / "wrong.h5").write_bytes(content)
    with refused(rf"wrong\.h5: not an HDF5 file: .*{told}"):
        read_signs_file(tmp_path / "wrong.h5", "train")


def test_a_damaged_file_is_called_damaged(tmp_path):
    path = tmp_path / "a.h5"
    write_signs(path)
    content = path.read_bytes()
    for kept in (200, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:kept])
        with refused(r"a\.h5: this HDF5 file is truncated"):
            read_signs_file(path, "train")
    path.write_bytes(content[:48] + bytes(2000) + content[2048:])
    with refused(r"a\.h5: this HDF5 file is damaged"):
        read_signs_file(path, "train")


def test_the_two_files_must_go_together(tmp_path):
    train, test = read_signs(write_signs_pair(tmp_path))
    assert (len(train), len(test)) == (12, 6)
    path = tmp_path / "test_signs.h5"
    write_signs(path, "test", count=6, classes=range(10))
    with refused("different classes.*0, 1, 2, 3, 4, 5, 6"):
        read_signs(tmp_path)
    write_signs(path, "train")
    with refused(r"test_signs\.h5: no array test_set_x.*it has .*train_set_x"):
        read_signs(tmp_path)


def test_missing_files_are_named_beside_what_is_there(tmp_path):
    write_signs(tmp_path / "train_catvnoncat.h5")
    with refused(r"train_signs\.h5 and test_signs\.h5 not found .it has train_catvn"):
        read_signs(tmp_path)
    write_signs(tmp_path / "test_signs.h5", "test")
    with refused(r": train_signs\.h5 not found"):
        read_signs(tmp_path)
    with refused(r"test_signs\.h5: .*no such folder"):
        read_signs(tmp_path / "test_signs.h5")
    with refused("no regular file; expected an h5 file"):
        read_signs_file(tmp_path, None)


def test_the_real_files(shared):
    train, test = read_signs(shared / "datasets")
    assert train.images.shape == (1080, 64, 64, 3)
    assert test.images.shape == (120, 64, 64, 3)
    assert np.bincount(train.labels).tolist() == [180] * 6
    assert np.bincount(test.labels).tolist() == [20] * 6


def test_the_table_of_the_published_files(shared):
    for file in SIGNS_FILES:
        for url in file.mirrors:
            assert url.startswith("https://") and url.endswith(f"/{file.name}")
    # Of the training file a recompressed copy is here.
    content = (shared / "datasets" / SIGNS_FILES[1].name).read_bytes()
    assert len(content) == SIGNS_FILES[1].size
    assert hashlib.sha256(content).hexdigest() == SIGNS_FILES[1].sha256
