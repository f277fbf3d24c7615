"""Images that a data set holds twice: no split may train on one and test the other.

The training images of SIGNS hold 43 pairs that are equal in every pixel. Copies under
two labels are let be: one label is wrong, and a test by the other does not flatter.
"""

import contextlib
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path

import numpy as np

_BLOCK = 2048  # images compared with as many others at a time


def image_keys(images: np.ndarray) -> list[str]:
    """Of each image, uint8 [N, H, W, 3], 16 hex digits that tell its pixels."""
    return [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in images]


def equal_images(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Groups, int32 [N], of equal images, uint8 [N, H, W, 3], of equal labels, int [N].

    A group's number is the index of its first image.
    """
    return _groups_of(zip(image_keys(images), labels.tolist(), strict=True))


def equal_files(paths: Sequence[Path], labels: np.ndarray) -> np.ndarray:
    """The same of files with the same bytes and label.

    Only files of equal size are read. One that cannot be is taken for single: whoever
    decodes it says what is wrong.
    """
    sizes = [os.path.getsize(x) if os.path.isfile(x) else -1 for x in paths]
    count_of = Counter(sizes)

    def content(path: Path, size: int) -> Hashable:
        with contextlib.suppress(OSError):
            if size >= 0 and count_of[size] > 1:
                return hashlib.sha256(path.read_bytes()).digest()
        return path

    return _groups_of(zip(map(content, paths, sizes), labels.tolist(), strict=True))


def _groups_of(keys: Iterable[Hashable]) -> np.ndarray:
    first: dict[Hashable, int] = {}
    groups = [first.setdefault(key, index) for index, key in enumerate(keys)]
    return np.array(groups, np.int32)


def join_groups(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The finest groups, int32 [N], that part none of either, int [N], >= 0."""
    return connect(one, np.arange(len(one)), _groups_of(other.tolist()))


def connect(groups: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """`groups`, int [N], with those of members one[i] and other[i] made one, each i.

    groups: numbers from 0. one, other: int [M], indices of members. Returns int32 [N],
    numbered in the order of the lowest number that a group is made of.
    """
    # Half a second to import, and only needed where groups meet.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = int(groups.max(initial=-1)) + 1
    edges = np.ones(len(one), bool), (groups[one], groups[other])
    graph = coo_array(edges, shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int32)[groups]


def alike_sets(
    thumbnails: np.ndarray, digests: Sequence[str], *, below: Sequence[float]
) -> list[list[list[int]]]:
    """Of each limit, the sets of images that pairs nearer than it connect, by index.

    thumbnails: uint8 [N, 32, 32, 3]. below: limits in grey levels. Images of equal
    digest are one set whatever the limit. Sets and their members are in order of index.
    Time grows as N squared, memory does not.
    """
    first = _groups_of(digests)
    kept = np.unique(first)
    groups = [np.arange(len(digests)) for _ in below]
    for start in range(0, len(kept), _BLOCK):
        one = kept[start : start + _BLOCK]
        for other_start in range(start, len(kept), _BLOCK):
            other = kept[other_start : other_start + _BLOCK]
            distances = _distances(thumbnails[one], thumbnails[other])
            for number, limit in enumerate(below):
                rows, columns = np.nonzero(distances < limit)
                groups[number] = connect(groups[number], one[rows], other[columns])
    return [_sets(of_limit[first]) for of_limit in groups]


def _sets(groups: np.ndarray) -> list[list[int]]:
    """The images of equal group, as sets of two or more."""
    members: dict[int, list[int]] = defaultdict(list)
    for index, group in enumerate(groups.tolist()):
        members[group].append(index)
    return [group for group in members.values() if len(group) > 1]


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Root-mean-square differences of thumbnails [M, ...] and [N, ...]: [M, N]."""
    # Integers to the last bit: a sum of squares is far below 2^53.
    one, other = (x.reshape(len(x), -1).astype(np.float64) for x in (one, other))
    squares = [np.einsum("np,np->n", x, x) for x in (one, other)]
    squared = squares[0][:, None] + squares[1][None, :] - 2 * (one @ other.T)
    return np.sqrt(squared / one.shape[1])
