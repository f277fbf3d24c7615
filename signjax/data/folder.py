"""Pictures sorted into one folder a class, split by a seed or by train/ and test/."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from signjax.data.dataset import Dataset
from signjax.data.duplicates import equal_files, join_groups
from signjax.data.image import (
    WHOLE_SQUARE,
    CropResize,
    images_below,
    is_hidden,
    list_images,
    load_images,
    natural_key,
)
from signjax.data.splits import find_groups, hold_out
from signjax.data.stream import ImagesOnDisk
from signjax.errors import InputError

_LAYOUT = "one folder of images a class, or train/ and test/ of such folders"
_VALIDATION = ("val", "valid", "validation")


def read_folder(
    directory: str | Path,
    *,
    image_size: int,
    test_fraction: float,
    seed: int,
    crop_resize: CropResize = WHOLE_SQUARE,
    group: str = "",
    stream: bool = False,
) -> tuple[Dataset, Dataset]:
    """Read class-named folders: (train, test), images [N, image_size, image_size, 3].

    Where the directory holds train/ and test/, these are the split; otherwise
    `test_fraction`, in (0, 1), of each class is drawn by `seed`, or of the groups that
    the rule `group` (see `signers.find_groups`) tells by the files. Training images
    come shuffled by `seed`, so that a run in fixed order sees mixed classes. Files of
    one class with the same bytes are a group, whatever the rule. With `stream` the
    images stay on disk.

    Raises InputError for another layout, for unreadable images, which it names, and
    where the rule does not fit or train/ and test/ share a group.
    """
    directory = Path(directory)
    rng = np.random.default_rng(seed)
    if _is_split_pair(directory):
        train, test = _read_pair(directory, image_size, crop_resize, group, stream)
        return train.take(rng.permutation(len(train.labels))), test
    if not 0 < test_fraction < 1:
        raise InputError(f"test_fraction is {test_fraction}; expected between 0 and 1")
    folders = _class_folders(directory)
    everything = _read(folders, image_size, crop_resize, stream)
    if group:
        groups = _groups([everything], [folders], group)
        (everything,) = _with_groups([everything], groups)
    _check_two_of_each(everything, directory)
    kept, test_indices = hold_out(everything, fraction=test_fraction, rng=rng)
    return everything.take(rng.permutation(kept)), everything.take(test_indices)


def read_labelled(
    directory: str | Path, *, image_size: int, crop_resize: CropResize = WHOLE_SQUARE
) -> Dataset:
    """Read all class-named folders, one or more, as one set.

    Of train/ and test/ it is the test part, and the other is not looked at. Raises
    InputError as `read_folder` does.
    """
    directory = Path(directory)
    if _is_split_pair(directory):
        directory = directory / "test"
    folders = _class_folders(directory, at_least=1)
    return _read(folders, image_size, crop_resize, stream=False)


def list_labelled(directory: str | Path) -> dict[str, dict[str, list[Path]]]:
    """Split -> class -> its pictures, as `read_folder` finds them, unread.

    Without train/ and test/ the one split is `all`; beside them a val/, valid/ or
    validation/ counts too. Other than for training, classes may differ between splits
    and have no picture.
    """
    directory = Path(directory)
    parts = {"all": directory}
    if _is_split_pair(directory):
        named = ("train", *_VALIDATION, "test")
        parts = {n: directory / n for n in named if (directory / n).is_dir()}
    return {
        part: {
            name: images_below(images)
            for name, images in _class_folders(folder, at_least=1).items()
        }
        for part, folder in parts.items()
    }


def _read_pair(
    directory: Path,
    image_size: int,
    crop_resize: CropResize,
    group: str,
    stream: bool,
) -> tuple[Dataset, Dataset]:
    train = _class_folders(directory / "train")
    test = _class_folders(directory / "test")
    if train.keys() != test.keys():
        only = {
            "train": ", ".join(name for name in train if name not in test),
            "test": ", ".join(name for name in test if name not in train),
        }
        found = "; ".join(f"only in {part}/: {names}" for part, names in only.items())
        raise InputError(f"{directory}: train/ and test/ differ in classes ({found})")
    read = [
        _read(folders, image_size, crop_resize, stream) for folders in (train, test)
    ]
    if not group:
        return read[0], read[1]
    groups = _groups(read, [train, test], group)
    shared = int(np.isin(groups[1], groups[0]).sum())
    if shared:
        raise InputError(
            f"{directory}: {shared} images of test/ belong to groups that train/ "
            f"has too, by the group rule {group!r}: move them, or leave the rule "
            "out to accept that"
        )
    learned, tested = _with_groups(read, groups)
    return learned, tested


def _groups(
    parts: Sequence[Dataset], folders: Sequence[Mapping[str, Path]], rule: str
) -> list[np.ndarray]:
    """The groups that `rule` finds in all parts of one data set, an array each."""
    names = [
        file.relative_to(folder).as_posix()
        for part in folders
        for folder in part.values()
        for file in list_images(folder)
    ]
    labels = np.concatenate([part.labels for part in parts])
    ends = np.cumsum([len(part.labels) for part in parts])[:-1]
    return np.split(find_groups(names, labels, rule), ends)


def _with_groups(
    parts: Sequence[Dataset], groups: Sequence[np.ndarray]
) -> list[Dataset]:
    """The parts with these groups, of which those that share a copy become one."""
    return [
        part._replace(
            groups=own if part.groups is None else join_groups(own, part.groups)
        )
        for part, own in zip(parts, groups, strict=True)
    ]


def _read(
    folders: Mapping[str, Path], image_size: int, crop_resize: CropResize, stream: bool
) -> Dataset:
    paths: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders.values()):
        images = list_images(folder)
        paths += images
        labels += [label] * len(images)
    read = ImagesOnDisk if stream else load_images
    return Dataset(
        read(paths, image_size, crop_resize),
        np.array(labels, np.int32),
        tuple(folders),
        equal_files(paths, labels),
    )


def _class_folders(directory: Path, at_least: int = 2) -> dict[str, Path]:
    """Class name -> folder, in label order, which is the natural one."""
    found = _folders(directory)
    if found.keys() & {"train", "test"}:
        raise InputError(
            f"{directory}: of train/ and test/ only one is there; expected {_LAYOUT}"
        )
    if len(found) < at_least:
        wanted = "two or more" if at_least > 1 else "one or more"
        raise InputError(
            f"{directory}: class folders found: {', '.join(found) or 'none'}; expected "
            f"{wanted}: {_LAYOUT}"
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
    for label, name in enumerate(data.classes):
        members = np.flatnonzero(data.labels == label)
        groups = members if data.groups is None else np.unique(data.groups[members])
        if len(groups) > 1:
            continue
        what = "one image"
        if len(members) > 1:
            what = f"{len(members)} images, all of one group or copies of one picture"
        raise InputError(
            f"{directory}: class {name} has {what}; expected two or more that can be "
            "parted, to have one to train on and one to test on"
        )
