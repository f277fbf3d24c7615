"""The SIGNS files are read as they are, and every wrong file is told apart."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from signjax.data.signs import SIGNS_FILES, read_signs, read_signs_file
from signjax.errors import InputError
from tests.helpers.datasets import write_signs, write_signs_pair


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    for split in ("train", "test"):
        images, labels = write_signs(path, split, labels=np.arange(12, dtype="u1") % 6)
        data = read_signs_file(path, None)
        np.testing.assert_array_equal(data.images, images)
        np.testing.assert_array_equal(data.labels, labels)
        assert (data.images.dtype, data.labels.dtype) == (np.uint8, np.int32)
        assert data.classes == ("0", "1", "2", "3", "4", "5")
    with h5py.File(path, "a") as file:
        file["train_set_x"] = np.zeros((2, 64, 64, 3), np.uint8)
        file["train_set_y"] = np.array([3, 4])
    assert len(read_signs_file(path, None)) == 12  # the test, of both
    assert read_signs_file(path, "train").labels.tolist() == [3, 4]


@pytest.mark.parametrize("names", [[b"fist", b"palm"], ["fist", "caf\u00e9"]])
def test_classes_may_have_names(tmp_path: Path, names: list[Any]) -> None:
    write_signs(tmp_path / "a.h5", labels=np.arange(12) % 2, classes=[0, 1])
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["list_classes"]
        file["list_classes"] = names
    expected = tuple(n.decode() if isinstance(n, bytes) else n for n in names)
    assert read_signs_file(tmp_path / "a.h5", None).classes == expected


IMAGES = np.zeros((12, 64, 64, 3), np.uint8)
LABELS = np.arange(12) % 6

WRONG_ARRAYS = {
    "float": (
        {"images": IMAGES / np.float32(255)},
        "train_set_x is float32.*already scaled",
    ),
    "int64": ({"images": IMAGES.astype(np.int64)}, "is int64; expected.*uint8"),
    "grey": ({"images": IMAGES[..., 0]}, r"\(12, 64, 64\); expected \(N, H"),
    "channels first": ({"images": IMAGES.transpose(0, 3, 1, 2)}, r"\(12, 3, 64"),
    "no images": ({"images": IMAGES[:0], "labels": LABELS[:0]}, r"\(0, 64, 64, 3\)"),
    "count": ({"images": IMAGES[:11]}, r"\(12,\); expected integers \(11,\)"),
    "column of labels": ({"labels": LABELS[:, None]}, r"int64 \(12, 1\)"),
    "float labels": ({"labels": LABELS / 1.0}, "train_set_y is float64"),
    "too high": ({"labels": LABELS + 2}, "run from 2 to 7; expected 0 to 5"),
    "negative": ({"labels": LABELS - 1}, "from -1 to 4"),
    "class twice": ({"classes": [0, 1, 1, 3, 4, 5]}, "expected two or more different"),
    "float classes": ({"classes": [0.5, 1.5]}, "list_classes is float64"),
    "cats": (
        {"labels": LABELS % 2, "classes": [b"non-cat", b"cat"]},
        "cat / non-cat.*train_catvnoncat.h5",
    ),
}


@pytest.mark.parametrize("case", WRONG_ARRAYS)
def test_wrong_arrays_are_named(tmp_path: Path, case: str) -> None:
    arrays, message = WRONG_ARRAYS[case]
    write_signs(tmp_path / "wrong.h5", **arrays)
    with pytest.raises(InputError, match=message) as caught:
        read_signs_file(tmp_path / "wrong.h5", "train")
    assert "wrong.h5" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_keys_are_named_with_those_present(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    for missing in ("train_set_x", "train_set_y", "list_classes"):
        write_signs(path)
        with h5py.File(path, "a") as file:
            del file[missing]
            present = ", ".join(sorted(file))
        with pytest.raises(InputError, match=f"no array {missing} .*it has {present}"):
            read_signs_file(path, "train")
        with h5py.File(path, "a") as file:
            file[f"{missing}/values"] = LABELS
        with pytest.raises(InputError, match=f"no array {missing} "):
            read_signs_file(path, "train")
    with h5py.File(path, "w") as file:
        for layer in range(12):
            file.create_group(f"layer{layer:02}")
    with pytest.raises(InputError, match=r"layer00.*layer09 and 2 more\)"):
        read_signs_file(path, None)


def test_an_array_that_its_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    write_signs(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["train_set_x"]
        shape = (10**9, 64, 64, 3)
        file.create_dataset("train_set_x", shape, "u1", chunks=(1, 64, 64, 3))
    with pytest.raises(InputError, match="claims 12,288,000,000,000 bytes"):
        read_signs_file(tmp_path / "a.h5", "train")


WRONG_CONTENT = {
    "page": (b"\n\n<!DOCTYPE html>\n<html lang=en>", "saved web page"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha", "Git LFS pointer"),
    "text": (b"label,pixel1\n", "unknown content.*label,pi"),
}


@pytest.mark.parametrize("case", WRONG_CONTENT)
def test_wrong_content_is_named(tmp_path: Path, case: str) -> None:
    content, message = WRONG_CONTENT[case]
    (tmp_path / "wrong.h5").write_bytes(content)
    with pytest.raises(InputError, match=rf"wrong\.h5: not an HDF5 file: .*{message}"):
        read_signs_file(tmp_path / "wrong.h5", "train")


def test_a_damaged_file_is_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write_signs(path)
    content = path.read_bytes()
    for kept in (200, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:kept])
        with pytest.raises(InputError, match=r"a\.h5: this HDF5 file is truncated"):
            read_signs_file(path, "train")
    path.write_bytes(content[:48] + bytes(2000) + content[2048:])
    with pytest.raises(InputError, match=r"a\.h5: this HDF5 file is damaged"):
        read_signs_file(path, "train")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.h5: no such file or folder; expected"):
        read_signs_file(tmp_path / "none.h5", None)
    with pytest.raises(InputError, match="Is a directory"):
        read_signs_file(tmp_path, None)


def test_the_two_files_must_go_together(tmp_path: Path) -> None:
    train, test = read_signs(write_signs_pair(tmp_path))
    assert (len(train), len(test)) == (12, 6)
    path = tmp_path / "test_signs.h5"
    write_signs(path, "test", count=6, classes=range(10))
    with pytest.raises(InputError, match="different classes.*0, 1, 2, 3, 4, 5, 6"):
        read_signs(tmp_path)
    write_signs(path, "test", count=6, images=np.zeros((6, 32, 32, 3), np.uint8))
    with pytest.raises(InputError, match=r"different image shapes.*32, 32, 3"):
        read_signs(tmp_path)
    write_signs(path, "train")
    with pytest.raises(InputError, match=r"test_signs\.h5: holds the train.*swapped"):
        read_signs(tmp_path)


def test_missing_files_are_named_beside_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train_signs.h5 and test_signs.h5 not found"):
        read_signs(tmp_path)
    write_signs(tmp_path / "train_catvnoncat.h5")
    write_signs(tmp_path / "test_signs.h5", "test")
    with pytest.raises(InputError, match=r"train_signs\.h5 not.*train_catvnoncat\.h5"):
        read_signs(tmp_path)
    with pytest.raises(InputError, match="nowhere: no such folder"):
        read_signs(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"test_signs\.h5: is not a folder"):
        read_signs(tmp_path / "test_signs.h5")


def test_the_real_files(shared: Path) -> None:
    train, test = read_signs(shared / "datasets")
    assert train.images.shape == (1080, 64, 64, 3)
    assert test.images.shape == (120, 64, 64, 3)
    assert np.bincount(train.labels).tolist() == [180] * 6
    assert np.bincount(test.labels).tolist() == [20] * 6
    assert train.classes == test.classes == ("0", "1", "2", "3", "4", "5")


def test_the_table_of_the_published_files(shared: Path) -> None:
    import hashlib

    assert [file.name for file in SIGNS_FILES] == ["train_signs.h5", "test_signs.h5"]
    for file in SIGNS_FILES:
        content = (shared / "datasets" / file.name).read_bytes()
        assert len(file.mirrors) == 2 and len(file.sha256) == 64
        for url in file.mirrors:
            assert url.startswith("https://") and url.endswith(f"/{file.name}")
        if file.name == "test_signs.h5":  # of the other a recompressed copy is here
            assert len(content) == file.size
            assert hashlib.sha256(content).hexdigest() == file.sha256
