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
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from signjax.data.dataset import Dataset
from signjax.data.duplicates import connect
from signjax.data.folder import list_labelled
from signjax.data.image import load_whole, natural_key, square_resize
from signjax.data.signs import TEST_FILE, TRAIN_FILE, read_signs, read_signs_file
from signjax.errors import InputError

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


_LISTED = 12
_SETS = 3


def audit(path: str) -> dict[str, Any]:
    """`audit.summarise` of the data at `path`, with `data` and `unreadable`.

    unreadable: what is wrong with each picture that was left out, a line each.
    Raises InputError where `path` is no data set or none of its pictures can be read.
    """
    unreadable: list[str] = []
    rows = list(_read(Path(path), unreadable))
    if not rows:
        raise InputError(f"{path}: no picture can be read; the first: {unreadable[0]}")
    return {"data": path, **_summarise(rows), "unreadable": unreadable}


def count_pictures(path: str) -> int:
    """How many pictures `audit` compares, of all splits. Raises InputError as it."""
    place = Path(path)
    if _is_of_folders(place):
        splits = list_labelled(place).values()
        return sum(len(files) for folders in splits for files in folders.values())
    return sum(len(data.labels) for data in _read_files(place).values())


def audit_parts(origin: str, parts: Mapping[str, Dataset]) -> dict[str, Any]:
    """What `audit` returns, of splits in memory: name -> images as the network has it.

    A picture is called by its split and index, as `test[3]`.
    """
    rows = [
        _row(f"{split}[{index}]", split, data.classes[data.labels[index]], pixels)
        for split, data in parts.items()
        for index, pixels in enumerate(data.images)
    ]
    return {"data": origin, **_summarise(rows), "unreadable": []}


def _summarise(rows: Sequence["_Row"]) -> dict[str, Any]:
    classes = tuple(sorted({row.label for row in rows}, key=natural_key))
    names, splits, labels, sizes, digests, thumbnails = zip(*rows, strict=True)
    return summarise(
        Pictures(
            names=names,
            splits=splits,
            labels=np.array([classes.index(label) for label in labels]),
            classes=classes,
            sizes=np.array(sizes),
            digests=digests,
            thumbnails=np.stack(thumbnails),
        )
    )


class _Row(NamedTuple):
    """One picture; of its pixels only what is compared is kept."""

    name: str
    split: str
    label: str
    size: tuple[int, int]
    digest: str
    thumbnail: np.ndarray


def _row(name: str, split: str, label: str, pixels: np.ndarray) -> _Row:
    height, width = pixels.shape[:2]
    shown = thumbnail(pixels)
    return _Row(name, split, label, (width, height), digest(pixels), shown)


def _read(path: Path, unreadable: list[str]) -> Iterator[_Row]:
    if _is_of_folders(path):
        yield from _read_folder(path, unreadable)
        return
    for split, data in _read_files(path).items():
        file = {"train": TRAIN_FILE, "test": TEST_FILE, "all": path.name}[split]
        for index, pixels in enumerate(data.images):
            label = data.classes[data.labels[index]]
            yield _row(f"{file}[{index}]", split, label, pixels)


def _is_of_folders(path: Path) -> bool:
    return path.is_dir() and not any(
        (path / file).exists() for file in (TRAIN_FILE, TEST_FILE)
    )


def _read_files(path: Path) -> dict[str, Dataset]:
    """Split -> images of one h5 file, or of the two in a folder."""
    if path.is_dir():
        return dict(zip(("train", "test"), read_signs(path), strict=True))
    return {"all": read_signs_file(path, None)}


def _read_folder(path: Path, unreadable: list[str]) -> Iterator[_Row]:
    def read(picture: tuple[str, str, Path]) -> _Row | str:
        split, label, file = picture
        try:
            pixels = load_whole(file)
        except InputError as error:
            return str(error)
        return _row(file.relative_to(path).as_posix(), split, label, pixels)

    pictures = []
    for split, folders in list_labelled(path).items():
        for label, files in folders.items():
            pictures += [(split, label, file) for file in files]
            if not files:
                unreadable.append(f"{label} in {split}: no images in this class")
    with ThreadPoolExecutor() as pool:
        for found in pool.map(read, pictures):
            if isinstance(found, str):
                unreadable.append(found)
            else:
                yield found


def describe_audit(report: Mapping[str, Any]) -> list[str]:
    """A report of `audit` in lines for a person."""
    splits = ", ".join(f"{name} {count}" for name, count in report["splits"].items())
    return [
        f"data         {report['data']}: {report['count']} pictures ({splits})",
        f"sizes        {_listed([f'{s} ({n})' for s, n in report['sizes'].items()])}",
        *_balance(report["classes"], list(report["splits"])),
        *(line for kind in _KINDS for line in _duplicates(kind, report)),
        *_conflicts(report["conflicts"]),
        *_findings("odd", [f"{k}: {', '.join(v)}" for k, v in report["odd"].items()]),
        *_findings("unreadable", report["unreadable"]),
    ]


# Key of the report -> its heading and what the pictures of a set are.
_KINDS = {
    "identical": ("identical", "equal in every pixel"),
    "copies": ("copies", "these, and photographs that were saved or resized again"),
    "look_alikes": ("look-alikes", "these, and the same scene a moment later"),
}


def _balance(
    classes: Mapping[str, Mapping[str, int]], splits: Sequence[str]
) -> list[str]:
    lines = []
    for split in splits:
        counts = {name: of_split[split] for name, of_split in classes.items()}
        low, high = min(counts.values()), max(counts.values())
        many = "equally many" if low == high else f"{low} to {high} pictures each"
        each = _listed([f"{name}: {count}" for name, count in counts.items()])
        lines.append(f"classes      {split}: {len(classes)} classes, {many}; {each}")
    return lines


def _duplicates(kind: str, report: Mapping[str, Any]) -> list[str]:
    heading, meaning = _KINDS[kind]
    sets, leaked = report[kind]["sets"], report[kind]["leaked"]
    lines = [f"{heading:12} sets: {len(sets)}, pictures: {sum(map(len, sets))}"]
    lines[0] += f" ({meaning})"
    lines += [f"  {' = '.join(names[:_LISTED])}" for names in sets[:_SETS]]
    if len(sets) > _SETS:
        lines.append(f"  and {len(sets) - _SETS} more sets")
    for split, names in list(leaked.items())[1:]:  # the first split is what is learned
        count = report["splits"][split]
        what = f"{len(names)} of {count} {split} pictures are in such a set with"
        lines.append(f"  LEAK: {what} pictures of another split: {_listed(names)}")
    return lines


def _conflicts(conflicts: Sequence[Mapping[str, str]]) -> list[str]:
    named = [" = ".join(f"{k} ({v})" for k, v in c.items()) for c in conflicts]
    if not named:
        return []
    return [f"CONFLICT     {len(named)} copies under two classes: {_listed(named)}"]


def _findings(heading: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return [f"{heading:12} none"]
    more = [f"  and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return [f"{heading:12} {len(lines)}", *(f"  {x}" for x in lines[:_LISTED]), *more]


def _listed(values: Sequence[str], limit: int = _LISTED) -> str:
    more = len(values) - limit
    named = ", ".join(values[:limit])
    return f"{named} and {more} more" if more > 0 else named
