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
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from signjax.data.dataset import Dataset, describe_left_out
from signjax.data.duplicates import alike_sets
from signjax.data.image import square_resize
from signjax.data.listing import natural_key
from signjax.data.parts import empty_classes
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


def audit(
    origin: str, splits: Mapping[str, Dataset], left_out: Mapping[str, int]
) -> dict[str, Any]:
    """`summarize` of images by split, whole or as a network has them, and what else is.

    unreadable: what is wrong with each image that cannot be read and each class without
    images, a line each. left_out: reason -> number of files that are there and not
    used. Raises InputError where no image can be read.
    """
    samples: list[Sample] = []
    unreadable = [
        f"{label} in {split}: no images in this class"
        for split, data in splits.items()
        for label in empty_classes(data)
    ]

    def look_at(split: str, data: Dataset, index: int, name: str) -> Sample | str:
        try:
            pixels = data.images[index]
        except InputError as error:
            return str(error)
        content = f"{pixels.shape}".encode() + pixels.tobytes()
        return Sample(
            name,
            split,
            data.classes[data.labels[index]],
            pixels.shape[1::-1],
            hashlib.sha256(content).hexdigest(),
            square_resize(Image.fromarray(pixels), THUMBNAIL),
        )

    places = [
        (split, data, index, name)
        for split, data in splits.items()
        for index, name in enumerate(image_names(split, data))
    ]
    with ThreadPoolExecutor() as pool:
        for found in pool.map(lambda place: look_at(*place), places):
            if isinstance(found, str):
                unreadable.append(found)
            else:
                samples.append(found)
    if not samples:
        raise InputError(f"{origin}: no image can be read; {listed(unreadable, 1)}")
    return {
        "data": origin,
        **summarize(samples),
        "unreadable": unreadable,
        "left_out": dict(left_out),
    }


def image_names(split: str, data: Dataset) -> Sequence[str]:
    """What an audit calls each image: its name, or else as `test[3]`."""
    return data.names or [f"{split}[{index}]" for index in range(len(data))]


def find_image(splits: Mapping[str, Dataset], name: str) -> np.ndarray:
    """The pixels, uint8 [H, W, 3], of what an audit of `splits` calls so."""
    for split, data in splits.items():
        if name in (names := image_names(split, data)):
            return data.images[names.index(name)]
    raise KeyError(name)


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
    counts = listed(f"{name} {count}" for name, count in splits.items())
    sizes = listed((f"{x} ({n})" for x, n in report["sizes"].items()), _LISTED)
    lines = [
        f"data         {report['data']}: {report['count']} images ({counts})",
        f"left out     {describe_left_out(report['left_out'])}",
        f"sizes        {sizes}",
    ]
    for split in splits:
        of_class = {name: of[split] for name, of in report["classes"].items()}
        low, high = min(of_class.values()), max(of_class.values())
        many = "equally many" if low == high else f"{low} to {high} images each"
        each = listed((f"{name}: {n}" for name, n in of_class.items()), _LISTED)
        lines.append(f"classes      {split}: {len(of_class)} classes, {many}; {each}")
    for kind, (heading, meaning) in _KINDS.items():
        sets, leaked = report[kind]["sets"], report[kind]["leaked"]
        counted = f"sets: {len(sets)}, images: {sum(map(len, sets))} ({meaning})"
        lines += _section(heading, counted, map(_equal, sets), _SETS)
        for split, names in list(leaked.items())[1:]:  # the first is what is trained on
            lines.append(
                f"  LEAK: {len(names)} of {splits[split]} {split} images are in such a "
                f"set with images of another split: {listed(names, _LISTED)}"
            )
    conflicts = [
        _equal(f"{name} ({label})" for name, label in labels.items())
        for labels in report["conflicts"]
    ]
    odd = [f"{name}: {', '.join(texts)}" for name, texts in report["odd"].items()]
    for heading, found, meaning in (
        ("conflicts", conflicts, " (copies under two classes)"),
        ("odd", odd, ""),
        ("unreadable", report["unreadable"], ""),
    ):
        counted = f"{len(found)}{meaning}" if found else "none"
        lines += _section(heading, counted, found, _LISTED)
    return lines


def _equal(names: Iterable[str]) -> str:
    return listed(names, _LISTED, " = ")


def _section(heading: str, counted: str, found: Iterable[str], limit: int) -> list[str]:
    """A line and, below it, the first of what is found."""
    texts = list(found)
    more = [f"and {len(texts) - limit} more"] if len(texts) > limit else []
    return [f"{heading:12} {counted}", *(f"  {text}" for text in texts[:limit] + more)]
