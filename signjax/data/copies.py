"""Images that a data set holds twice: no split may learn one and test the other.

The training images of SIGNS hold 43 pairs that are equal in every pixel. Copies under
two labels are let be: one label is wrong, and to be tested by the other does not
flatter.
"""

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path

import numpy as np


def image_keys(images: np.ndarray) -> list[str]:
    """Of each image, uint8 [N, H, W, 3], 16 hex digits that tell its pixels."""
    return [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in images]


def equal_images(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of each image, uint8 [N, H, W, 3], the index of the first like it, int32 [N].

    labels: int [N]; they are alike too.
    """
    return _first_of(zip(image_keys(images), labels.tolist(), strict=True))


def equal_files(paths: Sequence[Path], labels: Sequence[int]) -> np.ndarray:
    """Of each file the index of the first of its bytes and label, int32 [N].

    Only files of equal size are read. One that cannot be is taken for single: whoever
    wants its picture says what is wrong.
    """
    sizes = [path.stat().st_size for path in paths]
    count_of = Counter(sizes)
    keys = (
        _content(path) if count_of[size] > 1 else path
        for path, size in zip(paths, sizes, strict=True)
    )
    return _first_of(zip(keys, labels, strict=True))


def _content(path: Path) -> Hashable:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return path


def _first_of(keys: Iterable[Hashable]) -> np.ndarray:
    first: dict[Hashable, int] = {}
    return np.array([first.setdefault(key, i) for i, key in enumerate(keys)], np.int32)


def keep_together(copies: np.ndarray, groups: np.ndarray | None) -> np.ndarray | None:
    """Groups that hold all copies of an image, int32 [N]; None where all are single.

    copies: as above. groups: int [N], >= 0, or None; those that share a copy become
    one.
    """
    if groups is None:
        single = np.array_equal(copies, np.arange(len(copies)))
        return None if single else copies
    joined = groups
    while True:
        lowest = joined
        for sets in (groups, copies):
            of_set = np.full(sets.max() + 1, groups.max())
            np.minimum.at(of_set, sets, lowest)
            lowest = of_set[sets]
        if np.array_equal(lowest, joined):
            return joined.astype(np.int32)
        joined = lowest
