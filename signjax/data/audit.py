"""Copies, leaks, imbalance and odd pictures of a data set, told from its pixels.

Two pictures are compared by the root-mean-square difference, in grey levels, of their
32 x 32 thumbnails. What the distances mean was read off SIGNS and the Ankara digits,
looking at the pairs around each limit: saving as JPEG of quality 75 or enlarging moves
a picture by up to 4 levels, and below 4 SIGNS has 56 pairs, each the same photograph
twice (the farthest at 3.2, the next pair, two frames of a burst, at 4.6). From there
to 10 all pairs of SIGNS are frames of one burst: the same hand, a moment later. The
nearest photographs of the Ankara digits, which were taken one a pose, are 13.6 apart.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from signjax.data.copies import connect
from signjax.data.image import square_resize

THUMBNAIL = 32

COPY = 4.0  # below: the same photograph, compressed or resized again
LOOK_ALIKE = 10.0  # below: the same scene, a moment later

# Hands of SIGNS lie at mean levels of 153 to 199, those of the Ankara digits at 136 to
# 182. Contrast is told against the mean, as a dim photograph has less of both: it is
# 0.17 to 0.36 of it where there is a hand, and 0.05 of the bare wall that SIGNS has
# among its zeros, train_signs.h5[174].
_FLAT, _DARK, _BRIGHT = 0.1, 30.0, 245.0
_SMALL = 32  # pixels; enlarged more than twofold for a network that sees 64
_LONG = 2.0  # long side to short: half of the picture or more is cut off

_BLOCK = 2048


class Pictures(NamedTuple):
    """What an audit looks at, one entry a picture.

    names: where each is found. splits: the part each belongs to, as train or test.
    labels: int [N], indices into classes. sizes: int [N, 2], width and height in
    pixels. digests: of the whole pixels. thumbnails: uint8 [N, 32, 32, 3].
    """

    names: tuple[str, ...]
    splits: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    sizes: np.ndarray
    digests: tuple[str, ...]
    thumbnails: np.ndarray


def digest(pixels: np.ndarray) -> str:
    """Hex sha256 of a picture's shape and pixels, uint8 [H, W, 3]."""
    shape = repr(pixels.shape).encode()
    return hashlib.sha256(shape + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """The largest centred square of uint8 [H, W, 3], as uint8 [32, 32, 3]."""
    return square_resize(Image.fromarray(pixels), THUMBNAIL)


def alike_sets(
    thumbnails: np.ndarray, digests: Sequence[str], *, below: Sequence[float]
) -> list[list[list[int]]]:
    """Of each limit, the sets of pictures that pairs nearer than it connect, by index.

    below: limits in grey levels. Pictures of equal digest are one set whatever the
    limit. Sets and their members are in order of index. Time grows as N squared, memory
    does not.
    """
    first_of: dict[str, int] = {}
    first = np.array([first_of.setdefault(key, i) for i, key in enumerate(digests)])
    kept = np.unique(first)
    roots = [first.copy() for _ in below]
    for start in range(0, len(kept), _BLOCK):
        one = kept[start : start + _BLOCK]
        for other_start in range(start, len(kept), _BLOCK):
            other = kept[other_start : other_start + _BLOCK]
            distances = _distances(thumbnails[one], thumbnails[other])
            for limit, root in zip(below, roots, strict=True):
                rows, columns = np.nonzero(distances < limit)
                connect(root, one[rows], other[columns])
    return [_sets(root[first]) for root in roots]


def _sets(root: np.ndarray) -> list[list[int]]:
    """The pictures of equal root, as sets of two or more."""
    members: dict[int, list[int]] = defaultdict(list)
    for index, key in enumerate(root.tolist()):
        members[key].append(index)
    return [group for group in members.values() if len(group) > 1]


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Root-mean-square differences of thumbnails [M, ...] and [N, ...]: [M, N]."""
    # Integers to the last bit: a sum of squares is far below 2^53.
    one, other = (x.reshape(len(x), -1).astype(np.float64) for x in (one, other))
    squares = [np.einsum("np,np->n", x, x) for x in (one, other)]
    squared = squares[0][:, None] + squares[1][None, :] - 2 * (one @ other.T)
    return np.sqrt(squared / one.shape[1])


def balance(pictures: Pictures) -> dict[str, dict[str, int]]:
    """Class name -> split -> number of pictures."""
    names = list(dict.fromkeys(pictures.splits))
    counts = {label: dict.fromkeys(names, 0) for label in pictures.classes}
    for label, split in zip(pictures.labels, pictures.splits, strict=True):
        counts[pictures.classes[label]][split] += 1
    return counts


def odd_pictures(pictures: Pictures) -> dict[str, list[str]]:
    """Name -> what is odd about it, of the pictures that are worth a look."""
    odd: dict[str, list[str]] = defaultdict(list)
    levels = pictures.thumbnails.astype(np.float32).mean(axis=3)
    means, contrasts = levels.mean(axis=(1, 2)), levels.std(axis=(1, 2))
    rows = zip(pictures.names, means, contrasts, pictures.sizes, strict=True)
    for name, mean, contrast, (width, height) in rows:
        if contrast <= _FLAT * mean:
            odd[name].append(f"almost one colour (contrast {contrast:.1f} levels)")
        if mean < _DARK:
            odd[name].append(f"very dark (mean level {mean:.0f} of 255)")
        if mean > _BRIGHT:
            odd[name].append(f"very bright (mean level {mean:.0f} of 255)")
        if min(width, height) < _SMALL:
            odd[name].append(f"tiny ({width} x {height} pixels)")
        if max(width, height) > _LONG * min(width, height):
            odd[name].append(
                f"long ({width} x {height} pixels; only the central square is used)"
            )
    return dict(odd)


def summarise(pictures: Pictures) -> dict[str, Any]:
    """What an audit reports, as plain numbers and names.

    count; splits: name -> count; classes: as `balance`; sizes: `W x H` -> count, the
    most frequent first; identical, copies and look_alikes: see `_describe`; conflicts:
    the sets of copies that bear different labels; odd: as `odd_pictures`.
    """
    identical, copies, look_alikes = alike_sets(
        pictures.thumbnails, pictures.digests, below=(0.0, COPY, LOOK_ALIKE)
    )
    sizes = Counter(f"{width} x {height}" for width, height in pictures.sizes)
    return {
        "count": len(pictures.names),
        "splits": dict(Counter(pictures.splits)),
        "classes": balance(pictures),
        "sizes": dict(sizes.most_common()),
        "identical": _describe(identical, pictures),
        "copies": _describe(copies, pictures),
        "look_alikes": _describe(look_alikes, pictures),
        "conflicts": [
            {pictures.names[i]: pictures.classes[pictures.labels[i]] for i in cluster}
            for cluster in copies
            if len({int(pictures.labels[i]) for i in cluster}) > 1
        ],
        "odd": odd_pictures(pictures),
    }


def _describe(sets: list[list[int]], pictures: Pictures) -> dict[str, Any]:
    """sets: of names, those in several splits first. leaked: split -> names in those.

    A test picture that the training split has the like of says nothing about new ones.
    """
    leaks = [group for group in sets if len({pictures.splits[i] for i in group}) > 1]
    leaked: dict[str, list[str]] = defaultdict(list)
    for index in sorted(index for group in leaks for index in group):
        leaked[pictures.splits[index]].append(pictures.names[index])
    return {
        "sets": [
            [pictures.names[i] for i in group]
            for group in sorted(sets, key=lambda group: group not in leaks)
        ],
        "leaked": dict(leaked),
    }
