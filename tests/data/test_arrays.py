"""Tables of numbers are images and labels, or are refused with what they are."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from signjax.data.arrays import find_arrays, read_arrays
from signjax.data.folder import read_folder
from signjax.data.image import CropResize
from signjax.data.parts import load_labelled, open_parts
from tests.helpers.refusals import refused

COUNT = 24
LABELS = np.arange(COUNT) % 3
GREY = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8), np.uint8)
RGB = np.repeat(GREY[..., None], 3, axis=3)


def save(directory: Path, **arrays: Any) -> Path:
    directory.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(directory / f"{name}.npy", array)
    return directory


def write_table(path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    pixels = images.reshape(len(images), -1)
    header = ",".join(["label", *(f"pixel{i + 1}" for i in range(pixels.shape[1]))])
    table = np.column_stack([labels, pixels])
    np.savetxt(path, table, "%d", ",", header=header, comments="")
    return path


@pytest.mark.parametrize(
    "images",
    [GREY, GREY[..., None], RGB, GREY / 255, (RGB / 255).astype(np.float32)]
    + [GREY.astype(np.int64), GREY.astype(np.uint16) * 257, GREY.astype(float)],
)
def test_images_of_any_type_are_read_as_meant(tmp_path, images):
    data = read_arrays(save(tmp_path, X=images, Y=LABELS))["all"]
    np.testing.assert_array_equal(data.images, RGB)
    assert (data.images.dtype, data.classes) == (np.uint8, ("0", "1", "2"))
    assert data.labels.tolist() == LABELS.tolist()
    assert data.names is not None and data.names[3] == "X.npy[3]"


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.eye(3)[LABELS], "012"),
        (np.eye(3, dtype=bool)[LABELS], "012"),
        (LABELS[:, None].astype(np.float32), "012"),
        (LABELS.astype(np.uint8) + 7, "789"),
        (np.array(list("cab"))[LABELS], "cab"),
        (np.array([b"c", b"a", b"\xff"])[LABELS], "ca\ufffd"),
        (np.array(["c", "a", "e\u0301"])[LABELS], "ca\u00e9"),
    ],
)
def test_labels_are_numbers_texts_or_one_hot_rows(tmp_path, labels, names):
    data = read_arrays(save(tmp_path, x=GREY, y=labels))["all"]
    assert data.classes == tuple(sorted(names))
    found = [data.classes[label] for label in data.labels]
    assert found == [names[label] for label in LABELS]


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"X": GREY * 0.0}, "its values are 0 and 1"),
        ({"X": GREY // 200}, "its values are 0 and 1"),
        ({"X": GREY.astype(np.uint16) * 16}, "do not tell their range"),
        ({"X": GREY / 127 - 1}, "X.npy: its values, from -1"),
        ({"X": np.where(GREY > 9, GREY, np.nan)}, "its values, from nan"),
        ({"X": RGB.transpose(0, 3, 1, 2)}, r"uint8 \(24, 3, 8, 8\); expected images"),
        ({"X": GREY.reshape(COUNT, -1)[:, :63]}, r"\(24, 63\); expected images"),
        ({"X": np.array(["a"] * COUNT)}, "expected images"),
        ({"X": np.float64(3)}, r"float64 \(\); expected images"),
        ({"X": GREY[:, :0]}, r"uint8 \(24, 0, 8\); expected images"),
        ({"X": GREY[:9]}, "9 images and 24 labels"),
        ({"Y": LABELS + 0.5}, r"Y.npy: float64 \(24,\); expected a label"),
        ({"Y": np.full(COUNT, np.inf)}, "expected a label for each image"),
        ({"Y": np.ones((COUNT, 3))}, "expected a label for each image"),
        ({"Y": np.ones((COUNT, 10**6), bool)}, "expected a label for each image"),
        ({"Y": np.float64(3)}, "expected a label for each image"),
        ({"Y": np.array([{}] * COUNT)}, "Y.npy: not an array of numbers"),
    ],
)
def test_other_arrays_are_refused(tmp_path, arrays, told):
    save(tmp_path, **({"X": GREY, "Y": LABELS} | arrays))
    with refused(told):
        read_arrays(tmp_path)


@pytest.mark.parametrize("kept", [0, 5, 60, 1000, None])
def test_a_damaged_array_is_refused(tmp_path, kept):
    path = save(tmp_path, X=GREY, Y=LABELS) / "X.npy"
    content = path.read_bytes().replace(b"}", b"(")  # brackets that do not close
    path.write_bytes(content[:kept])
    with refused("X.npy: not an array"):
        read_arrays(tmp_path)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("label,pixel1\n0,1\n0,x\n", "'x'"),
        ("label,pixel1\n0,300\n", "300"),
        ("label,pixel1\n", "no data"),
        ("label,pixel1,pixel2\n0,1,2\n1,2\n", "columns"),
        ("label,pixel1,pixel2\n0,1,2\n", r"\(1, 2\)"),
        ("label,pixel1\n" + "\0" * (1 << 25), "could not convert"),
        ("file,label\n0.png,3\n", "not a table of images; expected label,pixel1"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, rows, told):
    (tmp_path / "hands.csv").write_text(rows)
    with refused(rf"hands.csv: .*{told}"):
        open_parts(tmp_path / "hands.csv")


def test_a_table_is_read_as_its_images(tmp_path):
    path = write_table(tmp_path / "sign_mnist_train.csv", GREY, LABELS * 2)
    data = read_arrays(path)["all"]
    np.testing.assert_array_equal(data.images, RGB)
    assert (data.classes, data.labels.tolist()) == (("0", "2", "4"), LABELS.tolist())
    test = write_table(tmp_path / "sign_mnist_test.csv", GREY[:3], np.array([2, 4, 2]))
    content = test.read_bytes().replace(b"pixel1,", b'"1x1",')  # as MNIST has it
    test.write_bytes(b"\xef\xbb\xbf" + content)  # as Excel saves it
    parts = read_arrays(tmp_path)
    assert [part.classes for part in parts.values()] == [("0", "2", "4")] * 2
    assert parts["test"].labels.tolist() == [1, 2, 1]
    write_table(tmp_path / "other_test.csv", GREY, LABELS)
    with refused("_test.csv are images of one split; leave one of them"):
        find_arrays(tmp_path)
    (tmp_path / "other_test.csv").unlink()
    (tmp_path / "sign_mnist_train.csv").write_text("file,label\n0.png,3\n")
    assert find_arrays(tmp_path).keys() == {"test"}


def test_arrays_are_trained_and_evaluated_on(tmp_path):
    save(tmp_path, X=GREY, Y=LABELS)
    (tmp_path / "notes.txt").touch()
    read = partial(
        read_folder, image_size=32, crop_resize=CropResize(), test_fraction=0.25, seed=0
    )
    splits = read(tmp_path)
    assert splits.train.images.shape == (18, 32, 32, 3)
    assert np.bincount(splits.test.labels).tolist() == [2, 2, 2]
    assert (np.diff(splits.train.labels) != 0).any()
    assert splits.left_out == {"files beside the arrays": 1}
    for path, left_out in ((tmp_path, splits.left_out), (tmp_path / "X.npy", {})):
        data, others = load_labelled(path, 32, CropResize())
        assert (len(data), others) == (COUNT, left_out)
    with refused("holds images in arrays, which config.data.group"):
        read(tmp_path, group="^(.)")
    pair = save(tmp_path / "pair", X_train=GREY, Y_train=LABELS)
    with refused("of the splits only train is there"):
        read(pair)
    save(pair, X_test=GREY[:3], Y_test=LABELS[:3])
    splits = read(pair)
    assert (len(splits.train), len(splits.test)) == (COUNT, 3)
    data, others = load_labelled(pair, 32, CropResize())
    assert (len(data), others) == (3, {"images of train": COUNT})
    splits = read(save(pair, x_val=GREY[:6], y_val=LABELS[:6]))
    assert splits.validation is not None and len(splits.validation) == 6
    save(pair, X=GREY, Y=LABELS)
    with refused("X.npy, X_train.npy, X_test.npy, x_val.npy are images of one split"):
        read(pair)
    assert len(load_labelled(pair / "X_train.npy", 32, CropResize())[0]) == COUNT
