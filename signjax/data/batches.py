"""The order of a run's images, and its batches, in memory or read from disk."""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from signjax.data.dataset import Dataset
from signjax.data.stream import ImagesOnDisk
from signjax.errors import InputError
from signjax.runtime.distributed import (
    device_put_global,
    gather_rows,
    own_errors,
    own_rows,
    replicate,
    replicated,
    shard_batch,
)

# Batches read ahead of the step that needs them.
_AHEAD = 2

# Rows of images uint8 [N, S * S * 3], labels int32 [N], indices int32 [B], -1: padding.
Batch = tuple[Any, Any, Any]


def epoch_order(
    epoch: int,
    *,
    count: int,
    batch_size: int,
    seed: int,
    shuffle: bool,
    drop_remainder: bool,
    synthetic_count: int = 0,
    synthetic_epochs: int = 0,
) -> np.ndarray:
    """The batches of one epoch: int32 [steps, batch_size], -1 is padding.

    The order depends on (seed, epoch) alone, so a resumed run goes on with it. The
    images that do not fill the last batch are dropped (others each epoch, if
    shuffled) or kept with padding after them. The last synthetic_count of the `count`
    images are there in the first synthetic_epochs epochs alone; later ones are as long,
    of the other images, all of them once before any comes again.
    """
    present = count if epoch < synthetic_epochs else count - synthetic_count
    indices = np.arange(present, dtype=np.int32)
    rng = np.random.default_rng((seed, epoch))
    passes = -(-count // present)
    order = np.concatenate(
        [rng.permutation(indices) if shuffle else indices for _ in range(passes)]
    )[:count]
    steps = steps_per_epoch(count, batch_size, drop_remainder=drop_remainder)
    padded = np.full(steps * batch_size, -1, np.int32)
    kept = order[: len(padded)]
    padded[: len(kept)] = kept
    return padded.reshape(steps, batch_size)


def steps_per_epoch(count: int, batch_size: int, *, drop_remainder: bool) -> int:
    """How many batches an epoch has."""
    return count // batch_size if drop_remainder else -(-count // batch_size)


class Batches:
    """The batches of a run, epoch by epoch.

    In memory the images move to the devices once, and a batch is that data set with
    other indices. Images on disk are read ahead by threads, and a batch is a small data
    set of its own; both give a step the same pixels, so the same result. Of several
    processes each reads the rows of its devices, which the devices then exchange.
    """

    def __init__(
        self, data: Dataset, mesh: Mesh, *, batch_size: int, **order: Any
    ) -> None:
        """order: what else `epoch_order` takes.

        Raises InputError where images on disk cannot be read as training needs them.
        """
        self._data = data
        self._mesh = mesh
        self._batch_size = batch_size
        self.order: Callable[[int], np.ndarray] = partial(
            epoch_order, count=len(data.labels), batch_size=batch_size, **order
        )
        self._placed: Any = None
        if isinstance(data.images, ImagesOnDisk):
            _require_streaming()

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, without the first `skip`.

        Raises InputError naming an image on disk that cannot be read.
        """
        order = self.order(epoch)[skip:]
        if isinstance(self._data.images, ImagesOnDisk):
            size, mesh = self._batch_size, self._mesh
            rows, own = np.arange(size, dtype=np.int32), own_rows(mesh, size)
            reader = read_ahead(self._data.images, order[:, own])
            with closing(reader), own_errors():
                for indices, (_, images) in zip(order, reader, strict=True):
                    yield (
                        gather_rows(mesh, as_rows(images), size),
                        replicate(mesh, self._data.labels[indices]),
                        shard_batch(mesh, np.where(indices < 0, -1, rows)),
                    )
            return
        images, labels = self.place()
        for indices in order:
            yield images, labels, shard_batch(self._mesh, indices)

    def place(self) -> Any:
        """Images and labels on the device, where they stay; None of images on disk."""
        if self._placed is None and not isinstance(self._data.images, ImagesOnDisk):
            found = as_rows(self._data.images), self._data.labels
            placed = device_put_global(found, replicated(self._mesh))
            # On the CPU steps would be queued behind them, each with its own memory.
            self._placed = jax.block_until_ready(placed)
        return self._placed

    def count_images(self, epoch: int, start: int, end: int) -> int:
        """How many images the run's steps from `start` to `end`, of one epoch, have."""
        order = self.order(epoch)
        first = epoch * len(order)
        return int(np.sum(order[start - first : end - first] >= 0))  # -1: padding

    def shapes(self) -> Batch:
        """What a step is compiled for: the shapes and dtypes of a batch."""
        size, on_disk = self._batch_size, isinstance(self._data.images, ImagesOnDisk)
        count = size if on_disk else len(self._data.labels)
        return (
            jax.ShapeDtypeStruct(
                (count, math.prod(self._data.images.shape[1:])), self._data.images.dtype
            ),
            jax.ShapeDtypeStruct((count,), np.int32),
            jax.ShapeDtypeStruct((size,), np.int32),
        )


def as_rows(images: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W, 3] -> [N, H * W * 3], as a train step takes images.

    A TPU would lay out four axes anew, all images of the data set, at every step.
    """
    return images.reshape(len(images), -1)


def read_ahead(images: ImagesOnDisk, order: np.ndarray) -> Any:
    """The batches of `order`, int32 [steps, B], each read before it is asked for.

    An iterator, to be closed, over (indices int [B], images uint8 [B, size, size,
    3]): the rows of `order`, of which -1, the padding, is the last image, as in an
    array. Threads decode at most `_AHEAD` batches besides the one that is asked for.
    """
    import grain

    def read(index: int) -> tuple[int, np.ndarray]:
        try:
            return index, images[index]
        except InputError as error:
            raise InputError(
                f"{error}. It could be read when this run began: put it back, and "
                "the same command goes on from the last checkpoint"
            ) from error

    batch_size = order.shape[1]
    ahead = grain.ReadOptions(
        num_threads=min(os.cpu_count() or 1, _AHEAD * batch_size),
        prefetch_buffer_size=_AHEAD * batch_size,
    )
    dataset = grain.MapDataset.source(order.ravel().tolist()).map(read)
    return iter(dataset.to_iter_dataset(ahead).batch(batch_size))


def _require_streaming() -> None:
    """What reading images as they are needed asks for, before any is read."""
    try:
        import grain  # noqa: F401
    except ImportError as error:
        raise InputError(
            "config.data.stream is True, which needs grain: pip install grain, or "
            "leave it out to hold all images in memory"
        ) from error
