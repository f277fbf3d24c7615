"""The SIGNS data set: two HDF5 files of 64 x 64 photos of hands showing 0 to 5.

Layout: `train_set_x` uint8 [N, H, W, 3], `train_set_y` integer [N] and `list_classes`
integer or text [K] in train_signs.h5; the same with `test_set_` in test_signs.h5.
"""

import os
import unicodedata
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from signjax.data.content import HEAD_BYTES, describe_content
from signjax.data.dataset import Dataset
from signjax.data.download import RemoteFile, fetch
from signjax.data.duplicates import equal_images
from signjax.errors import InputError, RunError, listed, one_line
from signjax.runtime.files import cache_directory
from signjax.runtime.hdf5 import refuse_unsound_hdf5

TRAIN_FILE = "train_signs.h5"
TEST_FILE = "test_signs.h5"

Split = Literal["train", "test"]

_MIRRORS = (
    "https://raw.githubusercontent.com/DrAlexSanz/CNN-in-TF/"
    "5f0da09b23d8920755c2d0087debebdfe3ce8bf0/",
    "https://raw.githubusercontent.com/trtrgfh/Sign-Language-Digits-/"
    "d73aea4eacbce435a8667a2cf90dd515e103dae9/datasets/",
)
SIGNS_FILES = tuple(
    RemoteFile(name, tuple(mirror + name for mirror in _MIRRORS), size, sha256)
    for name, size, sha256 in (
        (
            TRAIN_FILE,
            13_281_872,
            "47480709d99f2ea6ae428ecc491fc6f65ff1d05336736dd859d5565e0ad3cf74",
        ),
        (
            TEST_FILE,
            1_477_712,
            "539fb746ed9e947eb244cfca73f4d1b03f9bf5524d609eeed2cd76ddb1b179be",
        ),
    )
)


def find_signs(directory: Path | None) -> tuple[Path, str]:
    """(the folder of the two files, who named it): `directory`, if one is given.

    Else that of $SIGNJAX_DATA, or the user's cache, to which they are downloaded.
    Raises RunError where that fails.
    """
    if directory:
        return directory, (
            "--config.data.dir; for class-named folders say --config.data.source=folder"
        )
    if named := os.environ.get("SIGNJAX_DATA"):
        return Path(named), "$SIGNJAX_DATA"
    cache = cache_directory()
    for file in SIGNS_FILES:
        # A file that is there already need not be the published one: it may be the
        # person's own. Reading checks its content.
        if not (cache / file.name).is_file():
            try:
                fetch(file, cache)
            except RunError as error:
                raise RunError(
                    f"{error}. Without a network: put {TRAIN_FILE} and {TEST_FILE} "
                    "into a folder and name it with SIGNJAX_DATA=DIR"
                ) from error
    return cache, "the user's cache; a file deleted there is downloaded again"


def read_signs(directory: str | Path) -> tuple[Dataset, Dataset]:
    """Reads train_signs.h5 and test_signs.h5: (train, test) over the same classes.

    Raises InputError where a file is missing or wrong, or the two do not go together.
    """
    directory = Path(directory)
    missing = [n for n in (TRAIN_FILE, TEST_FILE) if not (directory / n).exists()]
    if missing:
        found = "no such folder"
        if directory.is_dir():
            found = f"it has {listed(sorted(x.name for x in directory.iterdir()), 5)}"
        raise InputError(
            f"{directory}: {' and '.join(missing)} not found ({found}); expected a "
            "folder with the two files of SIGNS"
        )
    train = read_signs_file(directory / TRAIN_FILE, "train")
    test = read_signs_file(directory / TEST_FILE, "test")
    if train.classes != test.classes:
        raise InputError(
            f"{directory}: the two files have different classes, "
            f"{listed(train.classes)} and {listed(test.classes)}; use two of one data "
            "set"
        )
    return train, test


def read_signs_file(path: str | Path, split: Split | None) -> Dataset:
    """Reads one file of the SIGNS layout; class names are list_classes as text.

    split: "train" or "test", or None for the one that the file has (test, of both).
    Images of one label that are equal in every pixel are a group.

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
            f"{path}: this HDF5 file {damage}; get it again ({one_line(error, 150)})"
        ) from error


def _check_is_hdf5(path: Path) -> None:
    expected = "expected an h5 file of the SIGNS layout or a folder of images"
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe waits for ever
        raise InputError(f"{path}: no regular file; {expected}")
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        problem = str(error.strerror).lower()
        raise InputError(f"{path}: {problem}; {expected}") from error
    if not h5py.is_hdf5(path):
        raise InputError(f"{path}: not an HDF5 file: it is {describe_content(head)}")


def _read(file: h5py.File, path: Path, split: Split | None) -> Dataset:
    split = split or ("test" if "test_set_x" in file else "train")
    keys = f"{split}_set_x", f"{split}_set_y", "list_classes"
    arrays: list[h5py.Dataset] = []
    for key in keys:
        array = file.get(key)
        if not isinstance(array, h5py.Dataset) or _is_not_here(array, file):
            present = listed(sorted(map(str, file)))  # those that are no text are bytes
            raise InputError(
                f"{path}: no array {key} in this HDF5 file (it has {present}); "
                "expected the SIGNS layout"
            )
        # No compressor of HDF5 comes near this, but for small arrays of zeros.
        if array.nbytes > 2**26 + 2000 * array.id.get_storage_size():
            raise InputError(
                f"{path}: {key} claims {array.nbytes:,} bytes, which this file cannot "
                "hold; get it again"
            )
        arrays.append(array)
    images, labels, names = arrays
    if names.dtype.kind == "O":  # texts, at damage to which the library may not return
        refuse_unsound_hdf5(path.read_bytes())
    classes = _class_names(names, path)
    scaled = "; these were already scaled" * (images.dtype.kind == "f")
    for array, right, expected in (
        (images, images.dtype == np.uint8, f"the original uint8, 0-255{scaled}"),
        (images, images.shape[3:] == (3,) and images.size, "(N, H, W, 3)"),
        (labels, labels.dtype.kind in "iu", "integers"),
        (labels, labels.shape == images.shape[:1], "a label for each image"),
    ):
        if not right:
            raise InputError(
                f"{path}: {keys[array is labels]} is {array.dtype} {array.shape}; "
                f"expected {expected}"
            )
    pixels, numbers = images[:], labels[:]
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or high >= len(classes):
        raise InputError(
            f"{path}: labels run from {low} to {high}; expected 0 to "
            f"{len(classes) - 1} for its {len(classes)} classes"
        )
    groups = equal_images(pixels, numbers)
    places = tuple(f"{path.name}[{index}]" for index in range(len(pixels)))
    return Dataset(pixels, numbers.astype(np.int32), classes, groups, places)


def _is_not_here(array: h5py.Dataset, file: h5py.File) -> bool:
    """Whether a file has nothing in it, or would have others on this machine read."""
    empty = array.shape is None
    return empty or bool(array.external) or array.is_virtual or array.file != file


def _class_names(classes: h5py.Dataset, path: Path) -> tuple[str, ...]:
    values = np.ravel(classes[()]).tolist()
    if {b"non-cat", b"cat"} == set(values):
        raise InputError(
            f"{path}: this is the cat / non-cat data set of another course "
            f"(train_catvnoncat.h5 has the same keys); expected {TRAIN_FILE} or "
            f"{TEST_FILE}"
        )
    texts = (v.decode(errors="replace") if isinstance(v, bytes) else v for v in values)
    names = [unicodedata.normalize("NFC", str(text)) for text in texts]
    if not 2 <= len(set(names)) == len(names) or classes.dtype.kind == "f":
        raise InputError(
            f"{path}: list_classes is {classes.dtype} {classes.shape}, "
            f"{listed(names)}; expected two or more different numbers or names"
        )
    return tuple(names)
