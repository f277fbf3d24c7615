"""Copies, leaks, imbalance and odd images of a data set, told from its pixels.

Two images are compared by the root-mean-square difference, in grey levels, of their
32 x 32 thumbnails. What the distances mean was read off SIGNS and the Ankara digits,
looking at the pairs around each limit: saving as JPEG of quality 75 or enlarging moves
an image by up to 4 levels, and below 4 SIGNS has 56 pairs, each the same photograph
twice (the farthest at 3.2, the next pair, two frames of a burst, at 4.6). From there
to 10 all pairs of SIGNS are frames of one burst: the same hand, a moment later. The
nearest photographs of the Ankara digits, which were taken one a pose, are 13.6 apart.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from signjax.data.arrays import find_arrays, read_arrays
from signjax.data.dataset import Dataset
from signjax.data.duplicates import alike_sets
from signjax.data.folder import read_classes
from signjax.data.image import CropResize, load_whole, square_resize
from signjax.data.listing import list_folder, natural_key
from signjax.data.signs import TEST_FILE, TRAIN_FILE, read_signs, read_signs_file
from signjax.errors import InputError, listed

THUMBNAIL = 32

COPY = 4.0  # below: the same photograph, compressed or resized again
LOOK_ALIKE = 10.0  # below: the same scene, a moment later

# Hands of SIGNS lie at mean levels of 153 to 199, those of the Ankara digits at 136 to
# 182. Contrast is told against the mean, as a dim photograph has less of both: it is
# 0.17 to 0.36 of it where there is a hand, and 0.05 of the bare wall that SIGNS has
# among its zeros, train_signs.h5[174].
_FLAT, _DARK, _BRIGHT = 0.1, 30.0, 245.0
_SMALL = 32  # pixels; enlarged more than twofold for a network that sees 64
_LONG = 2.0  # long side to short: half of the image or more is cut off

_LISTED = 12
_SETS = 3


class Sample(NamedTuple):
    """What an audit keeps of one image.

    name: where it is found. split: the part it belongs to, as train or test. size:
    width and height in pixels. digest: of the whole pixels. thumbnail: the largest
    centered square, uint8 [32, 32, 3].
    """

    name: str
    split: str
    label: str
    size: tuple[int, int]
    digest: str
    thumbnail: np.ndarray


def make_sample(name: str, split: str, label: str, pixels: np.ndarray) -> Sample:
    """Of pixels, uint8 [H, W, 3]."""
    height, width = pixels.shape[:2]
    content = repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()
    return Sample(
        name,
        split,
        label,
        (width, height),
        hashlib.sha256(content).hexdigest(),
        square_resize(Image.fromarray(pixels), THUMBNAIL),
    )


def audit(path: str) -> dict[str, Any]:
    """`summarize` of the data at `path`, with what is not in it.

    unreadable: what is wrong with each image that cannot be read, a line each.
    left_out: reason -> number of files that are there and not used.
    Raises InputError where `path` is no data set or none of its images can be read.
    """
    place = Path(path)
    if not _is_of_folders(place):
        return audit_parts(path, _read_files(place))
    listing = list_folder(place)
    unreadable = [
        f"{label} in {split}: no images in this class"
        for split, classes in listing.splits.items()
        for label, files in classes.items()
        if not files
    ]
    samples: list[Sample] = []
    with ThreadPoolExecutor() as pool:
        for found in pool.map(
            partial(_look_at, place), *zip(*_files_of(listing.splits), strict=True)
        ):
            if isinstance(found, str):
                unreadable.append(found)
            else:
                samples.append(found)
    if not samples:
        raise InputError(f"{path}: no image can be read; {listed(unreadable, 1)}")
    return {
        "data": path,
        **summarize(samples),
        "unreadable": unreadable,
        "left_out": dict(listing.left_out),
    }


def audit_parts(
    origin: str,
    parts: Mapping[str, Dataset],
    left_out: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, Any]:
    """What `audit` returns, of splits in memory: name -> images as the network has it.

    An image without a name is called by its split and index, as `test[3]`.
    """
    samples = [
        make_sample(
            data.names[index] if data.names else f"{split}[{index}]",
            split,
            data.classes[data.labels[index]],
            pixels,
        )
        for split, data in parts.items()
        for index, pixels in enumerate(data.images)
    ]
    return {
        "data": origin,
        **summarize(samples),
        "unreadable": [],
        "left_out": dict(left_out),
    }


def count_images(path: str) -> int:
    """How many images `audit` compares, of all splits. Raises InputError as it."""
    place = Path(path)
    if not _is_of_folders(place):
        return sum(map(len, _read_files(place).values()))
    return sum(1 for _ in _files_of(list_folder(place).splits))


def load_parts(
    path: str, image_size: int, crop_resize: CropResize
) -> dict[str, Dataset]:
    """Split -> its images, called as `audit` calls them: [N, size, size, 3].

    Raises InputError as `audit` does, and where an image cannot be read.
    """
    place = Path(path)
    if not _is_of_folders(place):
        parts = _read_files(place)
        return {s: data.resized(image_size, crop_resize) for s, data in parts.items()}
    return {
        split: read_classes(place, classes, image_size, crop_resize)
        for split, classes in list_folder(place).splits.items()
    }


def load_named(path: str, name: str) -> np.ndarray:
    """The pixels, uint8 [H, W, 3], of what an audit of the data at `path` calls so."""
    place = Path(path)
    if _is_of_folders(place):
        return load_whole(place / name)
    return find_named(_read_files(place), name)


def find_named(parts: Mapping[str, Dataset], name: str) -> np.ndarray:
    """The same, of splits in memory, as `audit_parts` calls their images."""
    for split, data in parts.items():
        names = data.names or [f"{split}[{i}]" for i in range(len(data))]
        if name in names:
            return data.images[names.index(name)]
    raise KeyError(name)


def _is_of_folders(path: Path) -> bool:
    if not path.is_dir() or find_arrays(path):
        return False
    return not any((path / file).exists() for file in (TRAIN_FILE, TEST_FILE))


def _read_files(path: Path) -> dict[str, Dataset]:
    """Split -> images of arrays, of one h5 file, or of the two in a folder."""
    if find_arrays(path):
        return read_arrays(path)
    if path.is_dir():
        return dict(zip(("train", "test"), read_signs(path), strict=True))
    return {"all": read_signs_file(path, None)}


def _files_of(
    splits: Mapping[str, Mapping[str, Sequence[Path]]],
) -> Iterator[tuple[str, str, Path]]:
    for split, classes in splits.items():
        for label, files in classes.items():
            yield from ((split, label, file) for file in files)


def _look_at(directory: Path, split: str, label: str, file: Path) -> Sample | str:
    try:
        pixels = load_whole(file)
    except InputError as error:
        return str(error)
    return make_sample(file.relative_to(directory).as_posix(), split, label, pixels)


def summarize(samples: Sequence[Sample]) -> dict[str, Any]:
    """What an audit reports, as plain numbers and names.

    count; splits: name -> count; classes: name -> split -> count; sizes: `W x H` ->
    count, the most frequent first; identical, copies and look_alikes: see `_describe`;
    conflicts: the sets of copies that bear different labels, name -> label; odd: name
    -> what is odd about it.
    """
    splits = Counter(image.split for image in samples)
    labels = sorted({image.label for image in samples}, key=natural_key)
    counts = Counter((image.label, image.split) for image in samples)
    sizes = Counter("{} x {}".format(*image.size) for image in samples)
    identical, copies, look_alikes = alike_sets(
        np.stack([image.thumbnail for image in samples]),
        [image.digest for image in samples],
        below=(0.0, COPY, LOOK_ALIKE),
    )
    return {
        "count": len(samples),
        "splits": dict(splits),
        "classes": {
            label: {split: counts[label, split] for split in splits} for label in labels
        },
        "sizes": dict(sizes.most_common()),
        "identical": _describe(identical, samples),
        "copies": _describe(copies, samples),
        "look_alikes": _describe(look_alikes, samples),
        "conflicts": [
            {samples[i].name: samples[i].label for i in group}
            for group in copies
            if len({samples[i].label for i in group}) > 1
        ],
        "odd": {image.name: odd for image in samples if (odd := _odd(image))},
    }


def _odd(image: Sample) -> list[str]:
    """What makes an image worth a look."""
    levels = image.thumbnail.astype(np.float32).mean(axis=2)
    mean, contrast = levels.mean(), levels.std()
    width, height = image.size
    size = f"{width} x {height} pixels"
    found = {
        f"almost one color (contrast {contrast:.1f} levels)": contrast <= _FLAT * mean,
        f"very dark (mean level {mean:.0f} of 255)": mean < _DARK,
        f"very bright (mean level {mean:.0f} of 255)": mean > _BRIGHT,
        f"tiny ({size})": min(width, height) < _SMALL,
        f"long ({size}; only the central square is used)": max(width, height)
        > _LONG * min(width, height),
    }
    return [text for text, holds in found.items() if holds]


def _describe(sets: list[list[int]], samples: Sequence[Sample]) -> dict[str, Any]:
    """sets: of names, those in several splits first. leaked: split -> names in those.

    A test image that the training split has the like of says nothing about new ones.
    """
    leaks = [group for group in sets if len({samples[i].split for i in group}) > 1]
    leaked: dict[str, list[str]] = defaultdict(list)
    for index in sorted(index for group in leaks for index in group):
        leaked[samples[index].split].append(samples[index].name)
    return {
        "sets": [
            [samples[i].name for i in group]
            for group in sorted(sets, key=lambda group: group not in leaks)
        ],
        "leaked": dict(leaked),
    }


# Key of the report -> its heading and what the images of a set are.
_KINDS = {
    "identical": ("identical", "equal in every pixel"),
    "copies": ("copies", "these, and photographs that were saved or resized again"),
    "look_alikes": ("look-alikes", "these, and the same scene a moment later"),
}


def describe_audit(report: Mapping[str, Any]) -> list[str]:
    """A report of `audit` in lines for a person."""
    splits = report["splits"]
    counts = ", ".join(f"{name} {count}" for name, count in splits.items())
    sizes = [f"{size} ({count})" for size, count in report["sizes"].items()]
    left_out = [f"{count} {reason}" for reason, count in report["left_out"].items()]
    lines = [
        f"data         {report['data']}: {report['count']} images ({counts})",
        f"left out     {listed(left_out or ['none'], _LISTED)}",
        f"sizes        {listed(sizes, _LISTED)}",
    ]
    for split in splits:
        of_class = {name: of[split] for name, of in report["classes"].items()}
        low, high = min(of_class.values()), max(of_class.values())
        many = "equally many" if low == high else f"{low} to {high} images each"
        each = listed((f"{name}: {n}" for name, n in of_class.items()), _LISTED)
        lines.append(f"classes      {split}: {len(of_class)} classes, {many}; {each}")
    for kind, (heading, meaning) in _KINDS.items():
        sets, leaked = report[kind]["sets"], report[kind]["leaked"]
        count = sum(map(len, sets))
        lines.append(f"{heading:12} sets: {len(sets)}, images: {count} ({meaning})")
        lines += [f"  {' = '.join(names[:_LISTED])}" for names in sets[:_SETS]]
        if len(sets) > _SETS:
            lines.append(f"  and {len(sets) - _SETS} more sets")
        for split, names in list(leaked.items())[1:]:  # the first is what is trained on
            lines.append(
                f"  LEAK: {len(names)} of {splits[split]} {split} images are in such a "
                f"set with images of another split: {listed(names, _LISTED)}"
            )
    conflicts = [
        " = ".join(f"{name} ({label})" for name, label in labels.items())
        for labels in report["conflicts"]
    ]
    if conflicts:
        named = listed(conflicts, _LISTED)
        lines.append(f"CONFLICT     {len(conflicts)} copies under two classes: {named}")
    odd = [f"{name}: {', '.join(texts)}" for name, texts in report["odd"].items()]
    for heading, found in (("odd", odd), ("unreadable", report["unreadable"])):
        lines.append(f"{heading:12} {len(found) or 'none'}")
        lines += [f"  {text}" for text in found[:_LISTED]]
        if len(found) > _LISTED:
            lines.append(f"  and {len(found) - _LISTED} more")
    return lines
