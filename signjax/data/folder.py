"""Pictures sorted into one folder a class, split by a seed or by train/ and test/."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from signjax.data.dataset import Dataset
from signjax.data.image import is_hidden, list_images, load_images, natural_key
from signjax.errors import InputError

_LAYOUT = "one folder of images a class, or train/ and test/ of such folders"


def read_folder(
    directory: str | Path,
    *,
    image_size: int,
    test_fraction: float,
    seed: int,
    classes: tuple[str, ...] | None = None,
) -> tuple[Dataset, Dataset]:
    """Read class-named folders: (train, test), images [N, image_size, image_size, 3].

    Where the directory holds train/ and test/, these are the split; otherwise
    `test_fraction`, in (0, 1), of each class is drawn by `seed`. Training images come
    shuffled by `seed`, so that a run in fixed order sees mixed classes.

    classes: the folders to use, in label order; None for all, in natural order.
    Raises InputError for another layout and for unreadable images, which it names.
    """
    directory = Path(directory)
    rng = np.random.default_rng(seed)
    if _is_split_pair(directory):
        train, test = _read_pair(directory, image_size, classes)
        return train.take(rng.permutation(len(train.labels))), test
    if not 0 < test_fraction < 1:
        raise InputError(f"test_fraction is {test_fraction}; expected between 0 and 1")
    everything = _read(_class_folders(directory, classes), image_size)
    _check_two_of_each(everything, directory)
    train_indices, test_indices = stratified_split(
        everything.labels, test_fraction=test_fraction, rng=rng
    )
    return everything.take(train_indices), everything.take(test_indices)


def read_labelled(directory: str | Path, *, image_size: int) -> Dataset:
    """Read all class-named folders as one set; of train/ and test/, the test part.

    Raises InputError as `read_folder` does.
    """
    directory = Path(directory)
    if _is_split_pair(directory):
        return _read_pair(directory, image_size, None)[1]
    return _read(_class_folders(directory, None), image_size)


def stratified_split(
    labels: np.ndarray, *, test_fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Split image indices by class: (train, shuffled; test, in order), int64.

    Of each class the rounded `test_fraction`, at least one image and never all of
    them, is for testing. labels: int [N], each class two or more times.
    """
    test = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        wanted = round(test_fraction * len(members))
        test.append(members[: min(max(wanted, 1), len(members) - 1)])
    test_indices = np.sort(np.concatenate(test))
    train_indices = np.setdiff1d(np.arange(len(labels)), test_indices)
    return rng.permutation(train_indices), test_indices


def _read_pair(
    directory: Path, image_size: int, classes: tuple[str, ...] | None
) -> tuple[Dataset, Dataset]:
    train = _class_folders(directory / "train", classes)
    test = _class_folders(directory / "test", classes)
    if train.keys() != test.keys():
        only = {
            "train": ", ".join(name for name in train if name not in test),
            "test": ", ".join(name for name in test if name not in train),
        }
        found = "; ".join(f"only in {part}/: {names}" for part, names in only.items())
        raise InputError(f"{directory}: train/ and test/ differ in classes ({found})")
    return _read(train, image_size), _read(test, image_size)


def _read(folders: Mapping[str, Path], image_size: int) -> Dataset:
    paths: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders.values()):
        images = list_images(folder)
        paths += images
        labels += [label] * len(images)
    return Dataset(
        load_images(paths, image_size), np.array(labels, np.int32), tuple(folders)
    )


def _class_folders(directory: Path, classes: tuple[str, ...] | None) -> dict[str, Path]:
    """Class name -> folder, in label order."""
    found = _folders(directory)
    if classes:
        missing = [name for name in classes if name not in found]
        if missing:
            raise InputError(
                f"{directory}: no folder for class {', '.join(missing)} (it has "
                f"{', '.join(found) or 'none'})"
            )
        found = {name: found[name] for name in classes}
    elif found.keys() & {"train", "test"}:
        raise InputError(
            f"{directory}: of train/ and test/ only one is there; expected {_LAYOUT}"
        )
    if len(found) < 2:
        raise InputError(
            f"{directory}: class folders found: {', '.join(found) or 'none'}; expected "
            f"two or more: {_LAYOUT}"
        )
    return found


def _folders(directory: Path) -> dict[str, Path]:
    if not directory.is_dir():
        problem = "is not a folder" if directory.exists() else "no such folder"
        raise InputError(f"{directory}: {problem}; expected {_LAYOUT}")
    folders = [p for p in directory.iterdir() if p.is_dir() and not is_hidden(p.name)]
    folders.sort(key=lambda folder: natural_key(folder.name))
    return {folder.name: folder for folder in folders}


def _is_split_pair(directory: Path) -> bool:
    return (directory / "train").is_dir() and (directory / "test").is_dir()


def _check_two_of_each(data: Dataset, directory: Path) -> None:
    counts = np.bincount(data.labels)
    single = [data.classes[label] for label in np.flatnonzero(counts < 2)]
    if single:
        raise InputError(
            f"{directory}: class {', '.join(single)} has one image; expected two or "
            "more, to have one to train on and one to test on"
        )
