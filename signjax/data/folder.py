"""Labelled images of one's own as training and test set, by a seed or as given."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from signjax.data.dataset import Dataset, Splits
from signjax.data.duplicates import equal_files, join_groups
from signjax.data.image import CropResize
from signjax.data.listing import LAYOUT
from signjax.data.parts import open_parts, require_images
from signjax.data.splits import by_name, by_sequence, hold_out
from signjax.data.stream import ImagesOnDisk
from signjax.errors import InputError, listed


def read_folder(
    directory: str | Path,
    image_size: int,
    crop_resize: CropResize,
    *,
    test_fraction: float,
    seed: int,
    group: str = "",
    stream: bool = False,
) -> Splits:
    """Reads class-named folders or arrays, images [N, image_size, image_size, 3].

    Where the directory holds train/ and test/, these are the split, and a validation/
    beside them is the validation set; otherwise `test_fraction`, in (0, 1), of each
    class is held out by `seed`, or of the groups that the rule `group` tells by the
    files: sequence, see `by_sequence`, or a regular expression, see `by_name`. Files of
    one class with the same bytes are a group, whatever the rule. Training images come
    shuffled by `seed`, so that a run in fixed order sees mixed classes. With `stream`
    the images stay on disk.

    Raises InputError for another layout, for unreadable images, which it names, and
    where the rule does not fit or splits share a group.
    """
    directory = Path(directory)
    parts, left_out = open_parts(directory, nested=bool(group))
    in_memory = [x for x in parts.values() if not isinstance(x.images, ImagesOnDisk)]
    if in_memory and (group or stream):
        raise InputError(
            f"{directory} holds images in arrays, which config.data.group and "
            "config.data.stream do not take: leave them out"
        )
    _check_splits(directory, parts)
    groups = _rule_groups(directory, parts, group) if group else {}
    for name, part in parts.items():
        require_images(directory, part)
        if isinstance(part.images, ImagesOnDisk):
            copies = equal_files(list(part.images.paths), part.labels)
            if group:
                copies = join_groups(groups[name], copies)
            part = replace(part, groups=copies)
        parts[name] = part.resized(image_size, crop_resize, stream=stream)
    rng = np.random.default_rng(seed)
    if "all" in parts:
        everything = parts["all"]
        _check_two_of_each(everything, directory)
        kept, held_out = hold_out(everything, fraction=test_fraction, rng=rng)
        parts = {"train": everything.take(kept), "test": everything.take(held_out)}
    order = rng.permutation(len(parts["train"]))
    return Splits(
        parts["train"].take(order),
        parts["test"],
        source="folder",
        origin=str(directory),
        validation=parts.get("validation"),
        left_out=left_out,
    )


def _check_splits(directory: Path, parts: Mapping[str, Dataset]) -> None:
    """Whether the splits are those that training needs, over the same classes."""
    if "all" not in parts and not parts.keys() >= {"train", "test"}:
        raise InputError(
            f"{directory}: of the splits only {listed(parts)} is there; expected "
            f"{LAYOUT}: name one of these folders to have it split"
        )
    for name, part in parts.items():
        classes, train = part.classes, parts.get("train", part).classes
        if len(classes) < 2:
            raise InputError(
                f"{directory}: its only class is {listed(classes)}; expected two or "
                f"more: {LAYOUT}"
            )
        if only := [f"{c} only in {name}/" for c in classes if c not in train] + [
            f"{c} only in train/" for c in train if c not in classes
        ]:
            raise InputError(
                f"{directory}: train/ and {name}/ differ in classes: {listed(only)}"
            )


def _rule_groups(
    directory: Path, parts: Mapping[str, Dataset], rule: str
) -> dict[str, np.ndarray]:
    """Split -> group numbers by `rule`, int32 [N], none of them in two splits."""
    above = 1 if "all" in parts else 2  # the class folder, and that of its split
    names = [
        name.split("/", above)[above]
        for part in parts.values()
        for name in part.names or ()
    ]
    labels = np.concatenate([part.labels for part in parts.values()])
    ends = np.cumsum([len(part) for part in parts.values()])[:-1]
    in_turn = rule == "sequence"
    found = by_sequence(names, labels) if in_turn else by_name(names, rule)
    groups = dict(zip(parts, np.split(found, ends), strict=True))
    for one, other in combinations(groups, 2):
        if shared := int(np.isin(groups[other], groups[one]).sum()):
            raise InputError(
                f"{directory}: {shared} images of {other}/ belong to groups that "
                f"{one}/ has too, by the group rule {rule!r}: move them, or leave the "
                "rule out to accept that"
            )
    return groups


def _check_two_of_each(data: Dataset, directory: Path) -> None:
    for label, name in enumerate(data.classes):
        members = np.flatnonzero(data.labels == label)
        groups = members if data.groups is None else np.unique(data.groups[members])
        if len(groups) < 2:
            raise InputError(
                f"{directory}: class {name} has {len(members)} images in {len(groups)} "
                "parts (copies or groups); expected two or more that can be parted, to "
                "have one to train on and one to test on"
            )
