"""Images and labels as tables of numbers: X.npy and Y.npy, or CSV with a row an image.

As the Ankara digits and Sign Language MNIST are published on Kaggle.
"""

import codecs
import math
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from signjax.data.dataset import Dataset
from signjax.data.duplicates import equal_images
from signjax.data.image import to_eight_bits
from signjax.data.listing import natural_key
from signjax.errors import InputError, listed, one_line

# How the names of files end, without their suffix -> the split.
_ENDS = {"": "all", "train": "train", "test": "test"}
_ENDS |= dict.fromkeys(("val", "valid", "validation"), "validation")
_LONGEST_ROW = 1 << 24  # characters
_HEADERS = b"label,pixel", b"label,1x1"  # how tables of images begin


def find_arrays(path: Path) -> dict[str, tuple[Path, ...]]:
    """Split -> its files, images first; empty if none are.

    path: a CSV file, X.npy beside Y.npy, or a folder of X.npy and Y.npy, the split
    `all`, or of X_train.npy, train.csv and so on: `train`, `validation` and `test`.
    Raises InputError where a split has several files.
    """
    if path.is_file() and path.suffix.lower() == ".npy":
        found = [
            (x, files) for x, files in _files_of_splits(path.parent) if path in files
        ]
    elif path.is_file():
        found = [("all", (path,))] if _is_table(path) else []
    else:
        found = _files_of_splits(path)
    if len(dict(found)) < len(found) or ("all" in dict(found) and len(found) > 1):
        names = listed(files[0].name for _, files in found)
        raise InputError(f"{path}: {names} are images of one split; leave one of them")
    return dict(found)


def _files_of_splits(directory: Path) -> list[tuple[str, tuple[Path, ...]]]:
    try:
        files = {x.name.lower(): x for x in directory.iterdir() if x.is_file()}
    except OSError:
        return []
    found: list[tuple[str, tuple[Path, ...]]] = []
    for end, split in _ENDS.items():
        images, labels = (files.get(f"{x}_{end}".strip("_") + ".npy") for x in "xy")
        if images and labels:
            found.append((split, (images, labels)))
        tables = [name for name in files if end and name.endswith(f"{end}.csv")]
        found += [(split, (files[x],)) for x in tables if _is_table(files[x])]
    return found


def read_arrays(path: Path) -> dict[str, Dataset]:
    """The images of `find_arrays`, uint8 [N, H, W, 3], with one list of classes.

    Images are grey or RGB, of any type whose values tell their range (see
    `image.to_eight_bits`). Labels are whole numbers, texts or one-hot rows; class names
    are the numbers, the texts or the columns. Images of one label that are equal in
    every pixel are a group.

    Raises InputError for what is neither, with what it is.
    """
    found = {split: _read(*files) for split, files in find_arrays(path).items()}
    texts = {text for _, _, texts in found.values() for text in texts}
    classes = tuple(sorted(texts, key=natural_key))
    numbers = {name: number for number, name in enumerate(classes)}
    parts = {}
    for split, (file, images, texts) in found.items():
        labels = np.array([numbers[text] for text in texts], np.int32)
        names = tuple(f"{file.name}[{index}]" for index in range(len(texts)))
        groups = equal_images(images, labels)
        parts[split] = Dataset(images, labels, classes, groups, names)
    return parts


def _read(
    file: Path, labels: Path | None = None
) -> tuple[Path, np.ndarray, Sequence[str]]:
    if labels is None:
        table = _load_table(file)
        pixels, texts = _images(file, table[:, 1:]), _texts(file, table[:, 0])
    else:
        pixels, texts = _images(file, _load(file)), _texts(labels, _load(labels))
    if len(pixels) != len(texts):
        raise InputError(
            f"{file}: {len(pixels)} images and {len(texts)} labels; expected a label "
            "for each image"
        )
    return file, pixels, texts


def _load(file: Path) -> np.ndarray:
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header raises any of them
        raise InputError(
            f"{file}: not an array of numbers or texts that numpy saved "
            f"({one_line(error, 150)}); get it again"
        ) from error


def _is_table(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            head = opened.read(64).removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    return head.replace(b'"', b"").startswith(_HEADERS)


def _load_table(file: Path) -> np.ndarray:
    try:
        with (
            file.open(encoding="utf-8") as opened,
            warnings.catch_warnings(action="error"),  # of a table without rows
        ):
            rows = iter(lambda: opened.readline(_LONGEST_ROW), "")
            return np.loadtxt(rows, np.uint8, delimiter=",", skiprows=1, ndmin=2)
    except (ValueError, UserWarning) as error:
        raise InputError(
            f"{file}: {one_line(error, 150)}; expected rows of a label and pixels, all "
            "whole numbers of 0 to 255"
        ) from error


def _texts(file: Path, labels: np.ndarray) -> Sequence[str]:
    """The class name of each label, [N] or one-hot [N, K]."""
    numeric = labels.dtype.kind in "biuf"
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2 and numeric and np.isin(labels, (0, 1)).all():
        if ((labels == 1).sum(axis=1) == 1).all():  # one-hot
            labels = labels.argmax(axis=1)
    if labels.ndim == 1 and labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    if labels.ndim == 1 and labels.dtype.kind == "U":
        return [unicodedata.normalize("NFC", label) for label in labels.tolist()]
    if labels.ndim == 1 and numeric and (np.abs(labels) < 2**53).all():
        numbers = labels.astype(np.int64)
        if (labels == numbers).all():
            return numbers.astype(str).tolist()
    raise InputError(
        f"{file}: {labels.dtype} {labels.shape}; expected a label for each image, "
        "whole numbers, texts or one-hot rows"
    )


def _images(file: Path, pixels: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W, 3] of [N, H * H], [N, H, W] or [N, H, W, 1 or 3] of any type."""
    shape = pixels.shape
    if len(shape) == 2 and (side := math.isqrt(shape[1])) ** 2 == shape[1]:
        pixels = pixels.reshape(-1, side, side)
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    fits = pixels.shape[3:] in ((1,), (3,)) and pixels.size
    if pixels.dtype.kind not in "iuf" or not fits:
        raise InputError(
            f"{file}: {pixels.dtype} {shape}; expected images (N, H, W) or (N, H, W, 3)"
        )
    try:
        pixels = pixels if pixels.dtype == np.uint8 else to_eight_bits(pixels)
        if pixels.max() <= 1:
            raise ValueError("its values are 0 and 1; give those of 0 to 255")
    except ValueError as error:
        raise InputError(f"{file}: {error}") from error
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:3], 3)))
