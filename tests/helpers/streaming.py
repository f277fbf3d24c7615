"""A folder of images to stream, and who counts those that are in memory."""

import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE, BATCH, EPOCHS, TRAIN_COUNT = 32, 8, 3, 42
STEPS = -(-TRAIN_COUNT // BATCH)  # an epoch, of which the last holds 2 images


def write_images(root: Path) -> Path:
    """42 images to train on and 9 to test on, of three classes, not square."""
    rng = np.random.default_rng(0)
    for split, count in (("train", TRAIN_COUNT // 3), ("test", 3)):
        for label, name in enumerate("abc"):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                noise = rng.integers(0, 100, (40, 36, 3)) + 60 * label
                image = Image.fromarray(noise.astype(np.uint8))
                image.save(root / split / name / f"{i}.png")
    return root


class Alive:
    """Counts the images that were decoded and are still in memory."""

    def __init__(self, decode: Callable[..., np.ndarray]) -> None:
        self._decode = decode
        self._lock = threading.Lock()
        self.now = self.most = self.decoded = 0

    def __call__(self, *arguments: Any) -> np.ndarray:
        image = self._decode(*arguments)
        with self._lock:
            self.decoded += 1
            self.now += 1
            self.most = max(self.most, self.now)
        weakref.finalize(image, self._gone)
        return image

    def _gone(self) -> None:
        self.now -= 1
