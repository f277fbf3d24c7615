"""Images sorted into one folder a class, split by a seed or by folders of splits."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from signjax.data.arrays import find_arrays, read_arrays
from signjax.data.dataset import Dataset, Splits
from signjax.data.duplicates import equal_files, join_groups
from signjax.data.image import WHOLE_SQUARE, CropResize, load_images
from signjax.data.listing import LAYOUT, Listing, list_folder
from signjax.data.splits import find_groups, hold_out
from signjax.data.stream import ImagesOnDisk
from signjax.errors import InputError, listed


def read_folder(
    directory: str | Path,
    *,
    image_size: int,
    test_fraction: float,
    seed: int,
    crop_resize: CropResize = WHOLE_SQUARE,
    group: str = "",
    stream: bool = False,
) -> Splits:
    """Reads class-named folders, images [N, image_size, image_size, 3].

    Where the directory holds train/ and test/, these are the split, and a validation/
    beside them is the validation set; otherwise `test_fraction`, in (0, 1), of each
    class is held out by `seed`, or of the groups that the rule `group` (see
    `splits.find_groups`) tells by the files. Training images come shuffled by `seed`,
    so that a run in fixed order sees mixed classes. Files of one class with the same
    bytes are a group, whatever the rule. With `stream` the images stay on disk.

    Raises InputError for another layout, for unreadable images, which it names, and
    where the rule does not fit or splits share a group.
    """
    directory = Path(directory)
    if not find_arrays(directory):
        listing = list_folder(directory, nested=bool(group))
        parts = _read_listing(
            directory, listing, image_size, crop_resize, group, stream
        )
        left_out = listing.left_out
    elif group or stream:
        raise InputError(
            f"{directory} holds images in arrays, which config.data.group and "
            "config.data.stream do not take: leave them out"
        )
    else:
        parts, left_out = _read_arrays(directory, image_size, crop_resize)
    rng = np.random.default_rng(seed)
    if "all" in parts:
        everything = parts["all"]
        _check_two_of_each(everything, directory)
        kept, held_out = hold_out(everything, fraction=test_fraction, rng=rng)
        train = everything.take(rng.permutation(kept))
        test = everything.take(held_out)
    else:
        train = parts["train"].take(rng.permutation(len(parts["train"])))
        test = parts["test"]
    return Splits(
        train,
        test,
        source="folder",
        origin=str(directory),
        validation=parts.get("validation"),
        left_out=left_out,
    )


def read_labelled(
    directory: str | Path,
    *,
    image_size: int,
    crop_resize: CropResize = WHOLE_SQUARE,
    group: str = "",
) -> Dataset:
    """Reads all class-named folders, one or more, as one set; of splits, the test.

    The images of the others are not looked at. Raises InputError as `read_folder` does.
    """
    directory = Path(directory)
    if find_arrays(directory):
        parts = read_arrays(directory)
        found = parts.get("test") or next(iter(parts.values()))
        return found.resized(image_size, crop_resize)
    splits = list_folder(directory, nested=bool(group)).splits
    classes = splits.get("all") or splits.get("test")
    if classes is None:
        raise InputError(
            f"{directory}: {listed(splits)} without test/: name the folder of the "
            "classes to read"
        )
    return read_classes(directory, classes, image_size, crop_resize)


def _read_arrays(
    path: Path, image_size: int, crop_resize: CropResize
) -> tuple[dict[str, Dataset], dict[str, int]]:
    """(split -> its images, what is left out)."""
    parts = {
        name: part.resized(image_size, crop_resize)
        for name, part in read_arrays(path).items()
    }
    _check_classes(path, {name: part.classes for name, part in parts.items()})
    used = {file for files in find_arrays(path).values() for file in files}
    others = sum(file.is_file() and file not in used for file in path.rglob("*"))
    return parts, {"files beside the arrays": others} if others else {}


def _read_listing(
    directory: Path,
    listing: Listing,
    image_size: int,
    crop_resize: CropResize,
    group: str,
    stream: bool,
) -> dict[str, Dataset]:
    """Split -> its images."""
    _check_classes(directory, {n: tuple(found) for n, found in listing.splits.items()})
    parts = {
        name: read_classes(directory, classes, image_size, crop_resize, stream)
        for name, classes in listing.splits.items()
    }
    return _with_groups(directory, parts, listing, group) if group else parts


def _check_classes(directory: Path, splits: Mapping[str, Sequence[str]]) -> None:
    """Whether the splits are those that training needs, over the same classes."""
    if "all" not in splits and not splits.keys() >= {"train", "test"}:
        raise InputError(
            f"{directory}: of the splits only {listed(splits)} is there; expected "
            f"{LAYOUT}: name one of these folders to have it split"
        )
    for name, classes in splits.items():
        if len(classes) < 2:
            raise InputError(
                f"{directory}: class folders found: {listed(classes)}; expected two or "
                f"more: {LAYOUT}"
            )
        train = splits.get("train", classes)
        only = {
            "train": [c for c in train if c not in classes],
            name: [c for c in classes if c not in train],
        }
        if any(only.values()):
            found = "; ".join(f"only in {k}/: {listed(v)}" for k, v in only.items())
            raise InputError(
                f"{directory}: train/ and {name}/ differ in classes ({found})"
            )


def read_classes(
    directory: str | Path,
    classes: Mapping[str, Sequence[Path]],
    image_size: int,
    crop_resize: CropResize,
    stream: bool = False,
) -> Dataset:
    """The images of class -> files below `directory`, [N, image_size, image_size, 3].

    Raises InputError for a class without images, and for what cannot be read.
    """
    if empty := [name for name, files in classes.items() if not files]:
        raise InputError(
            f"{directory}: no images in the class folders {listed(empty)}; expected "
            ".jpg, .png, ...: fill them or move them elsewhere"
        )
    paths = [path for files in classes.values() for path in files]
    sizes = [len(files) for files in classes.values()]
    labels = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    read = ImagesOnDisk if stream else load_images
    return Dataset(
        read(paths, image_size, crop_resize),
        labels,
        tuple(classes),
        equal_files(paths, labels.tolist()),
        tuple(path.relative_to(directory).as_posix() for path in paths),
    )


def _with_groups(
    directory: Path, parts: Mapping[str, Dataset], listing: Listing, rule: str
) -> dict[str, Dataset]:
    """The parts with the groups of `rule`, of which those that share a copy are one."""
    names = [
        "/".join(path.parts[listing.depth :])
        for classes in listing.splits.values()
        for files in classes.values()
        for path in files
    ]
    labels = np.concatenate([part.labels for part in parts.values()])
    ends = np.cumsum([len(part) for part in parts.values()])[:-1]
    groups = dict(
        zip(parts, np.split(find_groups(names, labels, rule), ends), strict=True)
    )
    for one, other in combinations(groups, 2):
        if shared := int(np.isin(groups[other], groups[one]).sum()):
            raise InputError(
                f"{directory}: {shared} images of {other}/ belong to groups that "
                f"{one}/ has too, by the group rule {rule!r}: move them, or leave the "
                "rule out to accept that"
            )
    return {
        name: replace(
            part,
            groups=groups[name]
            if part.groups is None
            else join_groups(groups[name], part.groups),
        )
        for name, part in parts.items()
    }


def _check_two_of_each(data: Dataset, directory: Path) -> None:
    for label, name in enumerate(data.classes):
        members = np.flatnonzero(data.labels == label)
        groups = members if data.groups is None else np.unique(data.groups[members])
        if len(groups) > 1:
            continue
        what = "one image"
        if len(members) > 1:
            what = f"{len(members)} images, all of one group or copies of one image"
        raise InputError(
            f"{directory}: class {name} has {what}; expected two or more that can be "
            "parted, to have one to train on and one to test on"
        )
