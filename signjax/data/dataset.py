"""What every data source returns: uint8 images with named integer labels."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from signjax.data.duplicates import image_keys
from signjax.data.image import CropResize, resize_images
from signjax.data.stream import Images, ImagesOnDisk, in_parts
from signjax.errors import InputError, listed


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images.

    images: uint8 [N, H, W, 3], RGB, 0-255, in memory or on disk. labels: int32 [N],
    each in [0, len(classes)). classes: the class names; a label is an index into them.
    groups: int32 [N], >= 0, equal for images that no split may part, or None where any
    may. names: where each image is found, as `3/hand.png` in a folder or
    `test_signs.h5[7]`, or None where they are of no file.
    """

    images: Images
    labels: np.ndarray
    classes: tuple[str, ...]
    groups: np.ndarray | None = None
    names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Dataset":
        """The images at `indices` (int [M]), in that order."""
        groups = None if self.groups is None else self.groups[indices]
        names = self.names and tuple(self.names[i] for i in indices)
        images = self.images.take(indices, axis=0)
        return Dataset(images, self.labels[indices], self.classes, groups, names)

    def resized(
        self, size: int, crop_resize: CropResize, *, stream: bool = False
    ) -> "Dataset":
        """With the images at that size: uint8 [N, size, size, 3].

        They are in memory, but for those on disk with `stream`.
        """
        if isinstance(self.images, ImagesOnDisk):
            images = self.images.resized(size, crop_resize)
            return replace(self, images=images if stream else images[:])
        return replace(self, images=resize_images(self.images, size, crop_resize))

    def join(self, other: "Dataset") -> "Dataset":
        """These images, then `other`'s, of the same size and classes.

        Groups stay whole and those of the two apart. Where one has no groups or no
        names, the two together have none.
        """
        groups = None
        if self.groups is not None and other.groups is not None:
            shifted = other.groups + self.groups.max(initial=-1) + 1
            groups = np.concatenate([self.groups, shifted])
        return Dataset(
            np.concatenate([self.images[:], other.images[:]]),
            np.concatenate([self.labels, other.labels]),
            self.classes,
            groups,
            self.names and other.names and self.names + other.names,
        )


class Splits(NamedTuple):
    """A training and a test set over the same classes, and where they came from.

    source: that of config.data, the word that labels every result.
    origin: the path or rule the images came from, for people to read. validation: where
    the data have one of their own. left_out: reason -> number of files that are there
    and not used.
    """

    train: Dataset
    test: Dataset
    source: str
    origin: str
    validation: Dataset | None = None
    left_out: Mapping[str, int] = MappingProxyType({})

    @property
    def sha256(self) -> str:
        """That of `fingerprint`."""
        return self.fingerprint()[0]

    def describe(
        self, train_set: Dataset, validation: Dataset | None
    ) -> dict[str, str]:
        """What a run reads and what it leaves out, heading -> text.

        train_set: all that is trained on. validation: the images held out, if any.
        """
        classes = self.train.classes
        counts = (
            np.bincount(part.labels, minlength=len(classes)).tolist()
            for part in (self.train, self.test)
        )
        each = (f"{name} {a}/{b}" for name, a, b in zip(classes, *counts, strict=True))
        held_out = f"{len(validation)} validation, " if validation is not None else ""
        lines = {
            "data": f"{self.source}: {self.origin}; {len(train_set)} train, {held_out}"
            f"{len(self.test)} test images",
            "classes": f"{len(classes)}, train/test images: {listed(each, 20)}",
        }
        if self.left_out:
            lines["left out"] = describe_left_out(self.left_out)
        return lines

    def fingerprint(self) -> tuple[str, dict[str, list[str]]]:
        """(hex digest of pixels, labels and class names, `image_keys`).

        The keys are those of `train` and of the `others`. Equal data have an equal
        digest. It reads every image that is on disk, each time it is asked for.
        """
        digest = hashlib.sha256()
        keys: dict[str, list[str]] = {"train": [], "others": []}
        parts = (self.train, self.test, self.validation)
        for part in (part for part in parts if part is not None):
            digest.update("\0".join(part.classes).encode(errors="surrogateescape"))
            digest.update(repr(part.images.shape).encode())
            for images in in_parts(part.images):
                digest.update(np.ascontiguousarray(images, np.uint8).data)
                keys["train" if part is self.train else "others"] += image_keys(images)
            digest.update(np.ascontiguousarray(part.labels, np.int32).data)
        return digest.hexdigest(), keys


def describe_left_out(left_out: Mapping[str, int]) -> str:
    """Reasons and numbers of files in one line; without any, "nothing"."""
    return listed((f"{count} {reason}" for reason, count in left_out.items()), 20)


def match_classes(
    data: Dataset, classes: tuple[str, ...]
) -> tuple[Dataset, dict[str, int]]:
    """`data` relabelled to a model's classes by name, and what was left out.

    Images of classes that the model does not know are dropped and counted by class.
    Raises InputError where none is left.
    """
    index = {name: i for i, name in enumerate(classes)}
    relabel = np.array([index.get(name, -1) for name in data.classes], np.int32)
    labels = relabel[data.labels]
    kept = np.flatnonzero(labels >= 0)
    if not len(kept):
        raise InputError(
            f"no image of a class that the model knows: the data's classes are "
            f"{listed(data.classes)}, the model's {listed(classes)}: give data with at "
            "least one of them"
        )
    left_out = {
        name: count
        for label, name in enumerate(data.classes)
        if relabel[label] < 0 and (count := int(np.sum(data.labels == label)))
    }
    return replace(data.take(kept), labels=labels[kept], classes=classes), left_out
