"""The SIGNS data set: two HDF5 files of 64 x 64 photos of hands showing 0 to 5.

Layout: `train_set_x` uint8 [N, H, W, 3], `train_set_y` integer [N] and `list_classes`
integer [K] in train_signs.h5; the same with `test_set_` in test_signs.h5.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from signjax.data.content import HEAD_BYTES, describe_content
from signjax.data.dataset import Dataset
from signjax.data.duplicates import equal_images
from signjax.errors import InputError

TRAIN_FILE = "train_signs.h5"
TEST_FILE = "test_signs.h5"

Split = Literal["train", "test"]

_LISTED = 10


def read_signs(directory: str | Path) -> tuple[Dataset, Dataset]:
    """Read train_signs.h5 and test_signs.h5: (train, test) over the same classes.

    Raises InputError where a file is missing or wrong, or the two do not go together.
    """
    directory = Path(directory)
    _check_directory(directory)
    train = read_signs_file(directory / TRAIN_FILE, "train")
    test = read_signs_file(directory / TEST_FILE, "test")
    if train.classes != test.classes:
        raise InputError(
            f"{directory}: the two files have different list_classes: "
            f"{TRAIN_FILE} {_listed(train.classes)}, "
            f"{TEST_FILE} {_listed(test.classes)}; use two files of one data set"
        )
    if train.images.shape[1:] != test.images.shape[1:]:
        raise InputError(
            f"{directory}: the two files have images of different shape: {TRAIN_FILE} "
            f"{train.images.shape[1:]}, {TEST_FILE} {test.images.shape[1:]}"
            "; use two files of one data set"
        )
    return train, test


def read_signs_file(path: str | Path, split: Split | None) -> Dataset:
    """Read one file of the SIGNS layout; class names are its class numbers as text.

    Images of one label that are equal in every pixel are a group.

    split: "train" or "test", or None for the one that the file has (test, of both).
    Raises InputError, naming the real cause where it is known, for anything else than
    uint8 images [N, H, W, 3], integer labels [N], each in [0, K), and K classes.
    """
    path = Path(path)
    _check_is_hdf5(path)
    try:
        with h5py.File(path, "r") as file:
            return _read(file, path, split)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        damage = "is truncated" if "truncated" in str(error) else "is damaged"
        raise InputError(
            f"{path}: this HDF5 file {damage}; get it again ({error})"
        ) from error


def _check_directory(directory: Path) -> None:
    if not directory.is_dir():
        problem = "is not a folder" if directory.exists() else "no such folder"
        raise InputError(
            f"{directory}: {problem}; expected one that holds {TRAIN_FILE} and "
            f"{TEST_FILE}"
        )
    wanted = (TRAIN_FILE, TEST_FILE)
    missing = [name for name in wanted if not (directory / name).exists()]
    if missing:
        others = sorted(p.name for p in directory.glob("*.h5") if p.name not in wanted)
        raise InputError(
            f"{directory}: {' and '.join(missing)} not found in this folder"
            + (f" (it has {_listed(others)})" if others else "")
            + "; expected the two files of SIGNS"
        )


def _check_is_hdf5(path: Path) -> None:
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: no such file or folder; expected an h5 file of the SIGNS layout "
            "or a folder of images"
        ) from error
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); expected an HDF5 file"
        ) from error
    if not h5py.is_hdf5(path):
        raise InputError(f"{path}: not an HDF5 file: it is {describe_content(head)}")


def _read(file: h5py.File, path: Path, split: Split | None) -> Dataset:
    split = _choose_split(file, path, split)
    classes = _read_classes(_array(file, path, "list_classes"), path)
    images = _array(file, path, f"{split}_set_x")
    labels = _array(file, path, f"{split}_set_y")
    _check_images(images, path)
    _check_labels(labels, path, count=len(images))
    label_values = labels[:]
    _check_range(label_values, path, len(classes))
    pixels = images[:]
    copies = equal_images(pixels, label_values)
    return Dataset(pixels, label_values.astype(np.int32), classes, copies)


def _choose_split(file: h5py.File, path: Path, split: Split | None) -> Split:
    present: list[Split] = [s for s in ("test", "train") if f"{s}_set_x" in file]
    if split is None and present:
        return present[0]
    if split in present:
        return split
    if split and present:
        raise InputError(
            f"{path}: holds the {present[0]} images ({present[0]}_set_x), expected the "
            f"{split} images; are the two files swapped?"
        )
    expected = f"{split}_set_x" if split else "train_set_x or test_set_x"
    raise InputError(
        f"{path}: no {expected} in this HDF5 file (it has {_listed(sorted(file))}); "
        "expected the SIGNS layout"
    )


def _array(file: h5py.File, path: Path, key: str) -> h5py.Dataset:
    if key not in file:
        raise InputError(
            f"{path}: no {key} in this HDF5 file (it has {_listed(sorted(file))}); "
            "expected the SIGNS layout"
        )
    array = file[key]
    if not isinstance(array, h5py.Dataset):
        raise InputError(f"{path}: {key} is a group; expected an array")
    return array


def _read_classes(classes: h5py.Dataset, path: Path) -> tuple[str, ...]:
    values = np.ravel(classes[()])
    if {b"non-cat", b"cat"} == set(values.tolist()):
        raise InputError(
            f"{path}: this is the cat / non-cat data set of another course "
            f"(train_catvnoncat.h5 has the same keys); expected {TRAIN_FILE} or "
            f"{TEST_FILE}"
        )
    if not np.issubdtype(classes.dtype, np.integer) or classes.ndim != 1:
        raise InputError(
            f"{path}: list_classes is {classes.dtype} {classes.shape}; expected "
            "integers [classes]"
        )
    if len(values) < 2 or len(set(values.tolist())) < len(values):
        raise InputError(
            f"{path}: list_classes is {values.tolist()}; expected two or more different"
            " numbers"
        )
    return tuple(str(value) for value in values.tolist())


def _check_images(images: h5py.Dataset, path: Path) -> None:
    key = str(images.name).lstrip("/")
    if np.issubdtype(images.dtype, np.floating):
        raise InputError(
            f"{path}: {key} is {images.dtype}, so the images were already scaled or "
            "converted; expected the original uint8, 0-255"
        )
    if images.dtype != np.uint8:
        raise InputError(f"{path}: {key} is {images.dtype}; expected uint8, 0-255")
    shape = images.shape
    if len(shape) != 4 or shape[3] != 3 or 0 in shape:
        transposed = len(shape) == 4 and shape[1] == 3
        raise InputError(
            f"{path}: {key} has shape {shape}; expected (N, height, width, 3)"
            + ("; are its channels first?" if transposed else "")
        )


def _check_labels(labels: h5py.Dataset, path: Path, count: int) -> None:
    key = str(labels.name).lstrip("/")
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{path}: {key} is {labels.dtype}; expected integers")
    if labels.shape != (count,):
        raise InputError(
            f"{path}: {key} has shape {labels.shape}; expected ({count},), one label "
            "for each image"
        )


def _check_range(labels: np.ndarray, path: Path, classes: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        from_one = low == 1 and high == classes
        raise InputError(
            f"{path}: labels run from {low} to {high}; expected 0 to {classes - 1} for "
            f"its {classes} classes" + ("; do they count from 1?" if from_one else "")
        )


def _listed(values: Sequence[str]) -> str:
    more = len(values) - _LISTED
    named = ", ".join(values[:_LISTED]) or "nothing"
    return f"{named} and {more} more" if more > 0 else named
