"""Images too many for memory: left on disk, and read as training comes to them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from signjax.data.image import (
    WHOLE_SQUARE,
    CropResize,
    load_image,
    load_images,
    load_whole,
)

# Images read at a time where all are gone through.
_PART = 256


class ImagesOnDisk:
    """Images on disk in the place of an array of them, uint8 [N, size, size, 3].

    An index, a slice or an array of indices reads what it names from disk, in threads,
    as `load_images` does; `take` and `resized` read nothing. Nothing that was read is
    kept. Without a size an index reads the image as it is, uint8 [H, W, 3].
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        paths: Sequence[Path],
        size: int = 0,
        crop_resize: CropResize = WHOLE_SQUARE,
    ) -> None:
        self.paths = np.array(paths, dtype=object)
        self._size = size
        self._crop_resize = crop_resize

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self), self._size, self._size, 3

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int | np.integer | slice | np.ndarray) -> np.ndarray:
        """Raises InputError naming the images that cannot be read."""
        chosen = self.paths[index]
        if not isinstance(chosen, Path):
            return load_images(list(chosen), self._size, self._crop_resize)
        if not self._size:
            return load_whole(chosen)
        return load_image(chosen, self._size, self._crop_resize)

    def __iter__(self) -> Iterator[np.ndarray]:
        for part in in_parts(self):
            yield from part

    def take(self, indices: np.ndarray, axis: Literal[0] = 0) -> "ImagesOnDisk":
        """Those at `indices`, int [M]; `axis` is there as numpy has it."""
        return ImagesOnDisk(list(self.paths[indices]), self._size, self._crop_resize)

    def resized(self, size: int, crop_resize: CropResize) -> "ImagesOnDisk":
        return ImagesOnDisk(list(self.paths), size, crop_resize)


# What a data set's images may be.
Images = np.ndarray | ImagesOnDisk


def in_parts(images: Images) -> Iterator[np.ndarray]:
    """All images, some at a time, so that those on disk are never all in memory."""
    for start in range(0, len(images), _PART):
        yield images[start : start + _PART]
