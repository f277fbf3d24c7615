"""Small data sets on disk."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image


def paint(path: Path, *color: int, size: int = 4) -> Path:
    """An image of one color; what is not given of it is 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), (*color, 0, 0, 0)[:3]).save(path)
    return path


def paint_classes(directory: Path, counts: Mapping[str, int]) -> Path:
    """`counts[name]` images a class: red tells the class, green the image."""
    for red, (name, count) in enumerate(counts.items()):
        for green in range(count):
            paint(directory / name / f"{green}.png", red, green)
    return directory


def paint_people(directory: Path, classes: Iterable[str], people: int) -> Path:
    """Each person in turn shows each class: red tells the person, green the class."""
    names = tuple(classes)
    for number in range(people * len(names)):
        person, label = divmod(number, len(names))
        paint(directory / names[label] / f"{number}.png", person, label)
    return directory


def write_signs(
    path: Path,
    split: str = "train",
    *,
    count: int = 12,
    seed: int = 0,
    classes: Iterable[Any] = range(6),
    images: np.ndarray | None = None,
    labels: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A file of the SIGNS layout; images and labels, noise and 0 to 5 unless given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if images is None:
        rng = np.random.default_rng((seed, count))
        images = rng.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
    if labels is None:
        labels = np.arange(count) % 6
    with h5py.File(path, "w") as file:
        file[f"{split}_set_x"] = images
        file[f"{split}_set_y"] = labels
        file["list_classes"] = np.array(list(classes))
    return images, labels


def write_signs_pair(directory: Path, **options: Any) -> Path:
    """train_signs.h5 with 12 images and test_signs.h5 with 6."""
    write_signs(directory / "train_signs.h5", **options)
    write_signs(directory / "test_signs.h5", "test", **({"count": 6} | options))
    return directory
