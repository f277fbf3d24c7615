"""The labelled images at a path, of whatever layout."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from signjax.data.arrays import find_arrays, read_arrays
from signjax.data.bucket import copied_here
from signjax.data.dataset import Dataset
from signjax.data.image import CropResize
from signjax.data.listing import list_folder
from signjax.data.signs import TEST_FILE, TRAIN_FILE, read_signs, read_signs_file
from signjax.data.stream import ImagesOnDisk
from signjax.errors import InputError, listed


class Parts(NamedTuple):
    """splits: `train`, `validation` and `test`, or `all` -> its images.

    left_out: reason -> number of files that are there and not used.
    """

    splits: dict[str, Dataset]
    left_out: Mapping[str, int]


def open_parts(path: str | Path, *, nested: bool = False) -> Parts:
    """The images at `path`, whole; photographs stay on disk and are not read.

    path: an h5 file of the SIGNS layout, a folder with its two files, a folder of
    class-named folders or of splits of those, or arrays. nested: see `list_folder`.
    Raises InputError where it is none of these.
    """
    path = copied_here(path)
    if found := find_arrays(path):
        files = [file for files in found.values() for file in files]
        others = 0
        if path.is_dir():
            others = sum(f.is_file() and f not in files for f in path.rglob("*"))
        left_out = {"files beside the arrays": others} if others else {}
        return Parts(read_arrays(path), left_out)
    if path.suffix.lower() == ".csv" and path.is_file():
        raise InputError(
            f"{path}: not a table of images; expected label,pixel1,... in its first "
            "line and then a row an image"
        )
    if not path.is_dir():
        return Parts({"all": read_signs_file(path, None)}, {})
    if _holds_signs(path):
        train, test = read_signs(path)
        return Parts({"train": train, "test": test}, {})
    splits, left_out = list_folder(path, nested=nested)
    parts = {}
    for split, classes in splits.items():
        files = [file for files in classes.values() for file in files]
        sizes = [len(files) for files in classes.values()]
        parts[split] = Dataset(
            ImagesOnDisk(files),
            np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
            tuple(classes),
            names=tuple(file.relative_to(path).as_posix() for file in files),
        )
    return Parts(parts, left_out)


def load_labelled(
    path: str | Path, image_size: int, crop_resize: CropResize
) -> tuple[Dataset, dict[str, int]]:
    """(a labelled set to evaluate on, at that size and in memory, what is left out).

    path: as for `open_parts`, nested; of splits the test is read and the others are
    left out.
    Raises InputError where there is no such set or one of its images cannot be read.
    """
    path = copied_here(path)
    beside: dict[str, int] = {}
    if path.is_dir() and not find_arrays(path) and _holds_signs(path):
        beside = {f"file {TRAIN_FILE}": 1} if (path / TRAIN_FILE).exists() else {}
        path /= TEST_FILE
    splits, left_out = open_parts(path, nested=True)
    name = next(iter(splits)) if path.is_file() else "test"
    data = splits.pop("all" if "all" in splits else name, None)
    if data is None:
        raise InputError(
            f"{path}: {listed(splits)} without test: name the folder of the classes to "
            "read"
        )
    require_images(path, data)
    others = {f"images of {split}": len(part) for split, part in splits.items()}
    return data.resized(image_size, crop_resize), {**others, **left_out, **beside}


def deeper_images(splits: Mapping[str, Dataset]) -> list[str]:
    """The names of images in folders within class folders."""
    return [
        name
        for split, data in splits.items()
        for name in data.names or ()
        if name.count("/") > 1 + (split != "all")
    ]


def require_images(path: Path, data: Dataset) -> None:
    """Raises InputError for class folders without images."""
    if isinstance(data.images, ImagesOnDisk) and (empty := empty_classes(data)):
        raise InputError(
            f"{path}: no images in the class folders {listed(empty)}; expected .jpg, "
            ".png, ...: fill them or move them elsewhere"
        )


def empty_classes(data: Dataset) -> list[str]:
    shown = set(data.labels.tolist())
    return [name for label, name in enumerate(data.classes) if label not in shown]


def _holds_signs(directory: Path) -> bool:
    return any((directory / name).exists() for name in (TRAIN_FILE, TEST_FILE))
