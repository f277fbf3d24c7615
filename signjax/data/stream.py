"""Images too many for memory: left on disk, and read as training comes to them."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from signjax.data.image import WHOLE_SQUARE, Framing, load_image, load_images
from signjax.errors import InputError

# Batches read ahead of the step that needs them.
_AHEAD = 2
# Images read at a time where all are gone through.
_PART = 256


class ImagesOnDisk:
    """Pictures in the place of an array of them, uint8 [N, size, size, 3].

    An index, a slice or an array of indices reads what it names from disk, in threads,
    as `load_images` does; `take` reads nothing. Nothing that was read is kept.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self, paths: Sequence[Path], size: int, framing: Framing = WHOLE_SQUARE
    ) -> None:
        self._paths = np.array(paths, dtype=object)
        self._size = size
        self._framing = framing

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self), self._size, self._size, 3

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int | np.integer | slice | np.ndarray) -> np.ndarray:
        """Raises InputError naming the pictures that cannot be read."""
        chosen = self._paths[index]
        if isinstance(chosen, Path):
            return load_image(chosen, self._size, self._framing)
        return load_images(list(chosen), self._size, self._framing)

    def __iter__(self) -> Iterator[np.ndarray]:
        for part in in_parts(self):
            yield from part

    def take(self, indices: np.ndarray, axis: Literal[0] = 0) -> "ImagesOnDisk":
        """Those at `indices`, int [M], unread; `axis` is there as numpy has it."""
        return ImagesOnDisk(list(self._paths[indices]), self._size, self._framing)


# What a data set's images may be.
Images = np.ndarray | ImagesOnDisk


def in_parts(images: Images) -> Iterator[np.ndarray]:
    """All images, some at a time, so that those on disk are never all in memory."""
    for start in range(0, len(images), _PART):
        yield images[start : start + _PART]


class ReadAhead:
    """The batches of a run from one step on, each read before it is asked for.

    An iterator over (indices int [B], images uint8 [B, size, size, 3]): the very rows
    of `batches`, epoch after epoch, of which -1, the padding, is the last image, as in
    an array. Where a run stands is the number of its steps, so nothing is to be stored
    for a resume. Threads decode at most `_AHEAD` batches besides the one that is asked
    for, across the ends of epochs too.
    """

    def __init__(
        self,
        images: ImagesOnDisk,
        batches: Callable[[int], np.ndarray],
        *,
        epochs: int,
        first_step: int = 0,
    ) -> None:
        """batches: epoch -> int32 [steps, B], the same shape for each.

        Raises InputError where grain is not installed.
        """
        require_grain()
        import grain

        order = _Order(batches, epochs)
        batch_size = order.batch_size
        threads = os.cpu_count() or 1

        def read(index: np.integer) -> tuple[np.integer, np.ndarray]:
            try:
                return index, images[index]
            except InputError as error:
                raise InputError(
                    f"{error}. It could be read when this run began: put it back, and "
                    "the same command goes on from the last checkpoint"
                ) from error

        dataset = grain.MapDataset.source(order)[first_step * batch_size :].map(read)
        ahead = grain.ReadOptions(
            num_threads=min(threads, _AHEAD * batch_size),
            prefetch_buffer_size=_AHEAD * batch_size,
        )
        self._iterator = iter(dataset.to_iter_dataset(ahead).batch(batch_size))

    def __iter__(self) -> "ReadAhead":
        return self

    def __next__(self) -> tuple[np.ndarray, np.ndarray]:
        """Raises InputError naming a picture that cannot be read."""
        return next(self._iterator)

    def close(self) -> None:
        """Reads no further."""
        self._iterator.close()


class _Order:
    """The indices of all batches of a run in one row, made an epoch at a time."""

    def __init__(self, batches: Callable[[int], np.ndarray], epochs: int) -> None:
        self._steps, self.batch_size = batches(0).shape
        self._epochs = epochs
        # Two, as the threads read across the end of an epoch.
        self._batches = lru_cache(maxsize=2)(batches)

    def __len__(self) -> int:
        return self._epochs * self._steps * self.batch_size

    def __getitem__(self, index: int) -> np.integer:
        epoch, place = divmod(index, self._steps * self.batch_size)
        return self._batches(epoch).flat[place]


def require_grain() -> None:
    """Raises InputError where grain, which reads ahead, is not installed."""
    try:
        import grain  # noqa: F401
    except ImportError as error:
        raise InputError(
            "config.data.stream is True, which needs grain: pip install "
            '"signjax[stream]", or leave it out to hold all images in memory'
        ) from error
