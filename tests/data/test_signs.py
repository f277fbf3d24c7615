"""The SIGNS files are read as they are, and every wrong file is told apart."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from signjax.data.signs import read_signs, read_signs_file
from signjax.errors import InputError

SHARED = Path(__file__).parents[2] / "shared" / "datasets"
needs_signs = pytest.mark.skipif(
    not (SHARED / "test_signs.h5").is_file(), reason="the SIGNS files are not here"
)


def write(path, split="train", images=None, labels=None, classes=range(6), count=12):
    """A file of the SIGNS layout with random images; None leaves an array out."""
    rng = np.random.default_rng(count)
    if images is None:
        images = rng.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
    if labels is None:
        labels = np.arange(count, dtype=np.int64) % 6
    with h5py.File(path, "w") as file:
        file[f"{split}_set_x"] = images
        file[f"{split}_set_y"] = labels
        file["list_classes"] = np.array(classes)
    return images, labels


def write_pair(directory, **test):
    write(directory / "train_signs.h5")
    write(directory / "test_signs.h5", **({"split": "test", "count": 6} | test))


def test_reads_what_was_written(tmp_path):
    images, labels = write(tmp_path / "a.h5", labels=np.arange(12, dtype=np.uint8) % 6)
    data = read_signs_file(tmp_path / "a.h5", "train")
    np.testing.assert_array_equal(data.images, images)
    np.testing.assert_array_equal(data.labels, labels)
    assert (data.images.dtype, data.labels.dtype) == (np.uint8, np.int32)
    assert data.classes == ("0", "1", "2", "3", "4", "5")


def test_reads_whichever_split_a_file_has(tmp_path):
    for split, count in (("train", 12), ("test", 6)):
        images, _ = write(tmp_path / "a.h5", split=split, count=count)
        data = read_signs_file(tmp_path / "a.h5", None)
        np.testing.assert_array_equal(data.images, images)


def test_of_both_splits_in_one_file_none_reads_the_test(tmp_path):
    write(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["test_set_x"] = np.zeros((2, 64, 64, 3), np.uint8)
        file["test_set_y"] = np.array([3, 4])
    assert read_signs_file(tmp_path / "a.h5", None).labels.tolist() == [3, 4]
    assert len(read_signs_file(tmp_path / "a.h5", "train").labels) == 12


def test_reads_the_pair(tmp_path):
    write_pair(tmp_path)
    train, test = read_signs(tmp_path)
    assert (len(train.images), len(test.images)) == (12, 6)


IMAGES = np.zeros((12, 64, 64, 3), np.uint8)
LABELS = np.arange(12) % 6

WRONG_ARRAYS = {
    "float": (
        {"images": IMAGES / np.float32(255)},
        "train_set_x is float32.*already scaled",
    ),
    "int64": ({"images": IMAGES.astype(np.int64)}, "is int64; expected uint8"),
    "grey": ({"images": IMAGES[..., 0]}, r"\(12, 64, 64\); expected \(N, height"),
    "channels first": ({"images": IMAGES.transpose(0, 3, 1, 2)}, "channels first"),
    "no images": ({"images": IMAGES[:0], "labels": LABELS[:0]}, r"\(0, 64, 64, 3\)"),
    "count": ({"images": IMAGES[:11]}, r"\(12,\); expected \(11,\)"),
    "row of labels": ({"labels": LABELS[None]}, r"shape \(1, 12\); expected \(12,\)"),
    "column of labels": ({"labels": LABELS[:, None]}, r"shape \(12, 1\)"),
    "float labels": ({"labels": LABELS / 1.0}, "train_set_y is float64"),
    "too high": ({"labels": LABELS + 2}, "run from 2 to 7; expected 0 to 5"),
    "from one": ({"labels": LABELS + 1}, "from 1 to 6.*count from 1"),
    "negative": ({"labels": LABELS - 1}, "from -1 to 4"),
    "class names": ({"classes": [b"a", b"b"]}, r"list_classes is \|S1"),
    "class twice": ({"classes": [0, 1, 1, 3, 4, 5]}, "expected two or more different"),
    "class shape": ({"classes": [[0, 1, 2, 3, 4, 5]]}, r"list_classes is int64 \(1"),
    "cats": (
        {"labels": LABELS % 2, "classes": [b"non-cat", b"cat"]},
        "cat / non-cat.*train_catvnoncat.h5",
    ),
}


@pytest.mark.parametrize("case", WRONG_ARRAYS)
def test_wrong_arrays_are_named(tmp_path, case):
    arrays, message = WRONG_ARRAYS[case]
    write(tmp_path / "wrong.h5", **arrays)
    with pytest.raises(InputError, match=message) as caught:
        read_signs_file(tmp_path / "wrong.h5", "train")
    assert "wrong.h5" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_keys_are_named_with_those_present(tmp_path):
    for missing in ("train_set_x", "train_set_y", "list_classes"):
        write(tmp_path / "a.h5")
        with h5py.File(tmp_path / "a.h5", "a") as file:
            del file[missing]
            present = ", ".join(sorted(file))
        with pytest.raises(InputError, match=rf"no {missing}.*it has {present}"):
            read_signs_file(tmp_path / "a.h5", "train")


def test_many_foreign_keys_are_cut_short(tmp_path):
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        for layer in range(12):
            file.create_group(f"layer{layer:02}")
    with pytest.raises(InputError, match=r"layer00.*layer09 and 2 more\)") as caught:
        read_signs_file(tmp_path / "weights.h5", None)
    assert "layer10" not in str(caught.value)


def test_a_group_in_place_of_an_array_is_named(tmp_path):
    write(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["train_set_y"]
        file["train_set_y/values"] = LABELS
    with pytest.raises(InputError, match="train_set_y is a group"):
        read_signs_file(tmp_path / "a.h5", "train")


WRONG_CONTENT = {
    "html": (b"\n\n<!DOCTYPE html>\n<html lang=en>", "saved web page"),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:47480709\nsize 132\n",
        "Git LFS pointer",
    ),
    "empty": (b"", "an empty file"),
    "zip": (b"PK\x03\x04rest", "zip archive"),
    "text": (b"label,pixel1\n", "unknown content.*label,pi"),
}


@pytest.mark.parametrize("case", WRONG_CONTENT)
def test_wrong_content_is_named(tmp_path, case):
    content, message = WRONG_CONTENT[case]
    (tmp_path / "wrong.h5").write_bytes(content)
    with pytest.raises(InputError, match=rf"wrong\.h5: not an HDF5 file: .*{message}"):
        read_signs_file(tmp_path / "wrong.h5", "train")


def test_a_truncated_file_is_called_truncated(tmp_path):
    write(tmp_path / "a.h5")
    content = (tmp_path / "a.h5").read_bytes()
    for kept in (200, len(content) // 2, len(content) - 1):
        (tmp_path / "a.h5").write_bytes(content[:kept])
        with pytest.raises(InputError, match=r"a\.h5: this HDF5 file is truncated"):
            read_signs_file(tmp_path / "a.h5", "train")


def test_a_file_with_a_damaged_tree_is_called_damaged(tmp_path):
    write(tmp_path / "a.h5")
    content = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(content[:48] + bytes(2000) + content[2048:])
    with pytest.raises(InputError, match=r"a\.h5: this HDF5 file is damaged"):
        read_signs_file(tmp_path / "a.h5", "train")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.h5: no such file or folder; expected"):
        read_signs_file(tmp_path / "none.h5", None)
    with pytest.raises(InputError, match="Is a directory"):
        read_signs_file(tmp_path, None)


def test_swapped_files_are_told(tmp_path):
    write(tmp_path / "train_signs.h5", split="test")
    write(tmp_path / "test_signs.h5", split="train")
    with pytest.raises(InputError, match=r"train_signs\.h5: holds the test.*swapped"):
        read_signs(tmp_path)


def test_the_two_files_must_go_together(tmp_path):
    write_pair(tmp_path, classes=range(10))
    with pytest.raises(InputError, match="different list_classes.*0, 1, 2, 3, 4, 5, 6"):
        read_signs(tmp_path)
    write_pair(tmp_path, images=np.zeros((6, 32, 32, 3), np.uint8))
    with pytest.raises(InputError, match=r"different shape.*\(32, 32, 3\)"):
        read_signs(tmp_path)


def test_missing_files_are_named_beside_what_is_there(tmp_path):
    with pytest.raises(InputError, match="train_signs.h5 and test_signs.h5 not found"):
        read_signs(tmp_path)
    write(tmp_path / "train_catvnoncat.h5")
    write(tmp_path / "test_signs.h5", split="test")
    with pytest.raises(InputError, match=r"train_signs\.h5 not.*has train_catvnoncat"):
        read_signs(tmp_path)
    with pytest.raises(InputError, match="nowhere: no such folder"):
        read_signs(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"test_signs\.h5: is not a folder"):
        read_signs(tmp_path / "test_signs.h5")


@needs_signs
def test_the_real_files():
    train, test = read_signs(SHARED)
    assert train.images.shape == (1080, 64, 64, 3)
    assert test.images.shape == (120, 64, 64, 3)
    assert np.bincount(train.labels).tolist() == [180] * 6
    assert np.bincount(test.labels).tolist() == [20] * 6
    assert train.classes == test.classes == ("0", "1", "2", "3", "4", "5")
