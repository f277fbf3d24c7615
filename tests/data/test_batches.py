"""Which images each batch holds, and that those on disk are read ahead in order."""

import gc
import sys
import time
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from signjax.data import stream
from signjax.data.batches import Batches, epoch_order, read_ahead, steps_per_epoch
from signjax.data.dataset import Dataset
from signjax.data.image import load_images
from signjax.data.stream import ImagesOnDisk
from signjax.runtime.distributed import make_mesh
from tests.helpers.refusals import refused
from tests.helpers.streaming import BATCH, EPOCHS, SIZE, STEPS, Alive


def make(count: int = 100, batch_size: int = 32, **changes: Any) -> np.ndarray:
    options = {"epoch": 0, "seed": 0, "shuffle": True, "drop_remainder": False}
    return epoch_order(count=count, batch_size=batch_size, **(options | changes))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("count", "batch_size"), [(120, 32), (64, 16), (5, 8), (1, 1)])
def test_an_epoch_holds_every_image_once(count, batch_size, shuffle):
    batches = make(count, batch_size, shuffle=shuffle)
    indices = batches.ravel()
    assert batches.dtype == np.int32 and batches.shape[1] == batch_size
    assert sorted(indices[:count]) == list(range(count))
    assert (indices[count:] == -1).all()
    assert shuffle or indices[:count].tolist() == list(range(count))


def test_the_remainder_is_dropped_and_differs_between_epochs():
    epochs = [make(100, 32, drop_remainder=True, epoch=epoch) for epoch in range(20)]
    assert all(batches.shape == (3, 32) for batches in epochs)
    assert all(len(set(batches.ravel())) == 96 for batches in epochs)
    assert set(np.concatenate(epochs).ravel()) == set(range(100))


def test_the_order_follows_from_seed_and_epoch_alone():
    np.random.seed(1)
    first = make(seed=3, epoch=7)
    np.random.seed(2)
    assert np.array_equal(first, make(seed=3, epoch=7))
    for other in (make(seed=3, epoch=8), make(seed=4, epoch=7), make(seed=7, epoch=3)):
        assert not np.array_equal(first, other)


def test_synthetic_images_are_there_in_the_first_epochs_alone():
    options = {"synthetic_count": 30, "synthetic_epochs": 2}
    early, late, later = (
        make(100, 32, drop_remainder=True, epoch=epoch, **options)
        for epoch in (1, 2, 3)
    )
    assert np.array_equal(early, make(100, 32, drop_remainder=True, epoch=1))
    for batches in (late, later):
        assert batches.shape == (3, 32)
        assert sorted(batches.ravel()[:70]) == list(range(70))
        assert len(set(batches.ravel()[70:])) == 26
    assert not np.array_equal(late, later)
    in_order = make(100, 32, shuffle=False, epoch=2, **options).ravel()[:100]
    assert in_order.tolist() == [*range(70), *range(30)]


@pytest.mark.parametrize("drop_remainder", [False, True])
@pytest.mark.parametrize("count", [31, 32, 33, 64, 100])
def test_steps_per_epoch_counts_the_batches(count, drop_remainder):
    expected = len(make(count, 32, drop_remainder=drop_remainder))
    assert steps_per_epoch(count, 32, drop_remainder=drop_remainder) == expected


@pytest.fixture
def paths(image_folder):
    return sorted(image_folder.glob("train/*/*.png"))


def test_batches_are_read_in_their_order_from_any_step(needs_grain, paths):
    images, array = ImagesOnDisk(paths, SIZE), load_images(paths, SIZE)
    order = make(len(paths), BATCH, seed=5)
    assert order[-1].min() == -1
    for first in (0, 1, len(order) - 1, len(order)):
        reader = read_ahead(images, order[first:])
        read = list(reader)
        reader.close()
        for (indices, pixels), expected in zip(read, order[first:], strict=True):
            np.testing.assert_array_equal(indices, expected)
            np.testing.assert_array_equal(pixels, array[expected])
            assert pixels.dtype == np.uint8


def test_only_some_images_are_in_memory_at_any_time(needs_grain, paths, monkeypatch):
    alive = Alive(stream.load_image)
    monkeypatch.setattr(stream, "load_image", alive)
    order = np.tile(make(len(paths), BATCH), (10, 1))
    ahead = read_ahead(ImagesOnDisk(paths, SIZE), order)
    for step, _ in enumerate(ahead, start=1):
        expected = min((step + 2) * BATCH, order.size)
        deadline = time.monotonic() + 10
        while alive.decoded < expected and time.monotonic() < deadline:
            time.sleep(0.001)  # so that it reads as far ahead as it ever does
        assert alive.decoded == expected
    ahead.close()
    assert alive.decoded == order.size
    assert alive.most <= 3 * BATCH  # two batches ahead of the one that is put together
    del ahead
    gc.collect()
    assert alive.now == 0


def test_memory_and_disk_give_a_step_the_same_images(needs_grain, paths):
    labels = np.arange(len(paths), dtype=np.int32) % 3
    mesh = make_mesh(jax.devices()[:1])
    options = {"seed": 5, "shuffle": True, "drop_remainder": False}

    def seen(images: Any) -> list[list[tuple[Any, ...]]]:
        """Of each batch the pixels and labels of its rows."""
        data, found = Dataset(images, labels, tuple("abc")), []
        batches = Batches(data, mesh, batch_size=BATCH, **options)
        for epoch, skip in ((0, 2), (1, 0), (0, 5), (EPOCHS - 1, 1)):
            for *arrays, indices in batches.epoch(epoch, skip):
                shapes = (np.shape(x) for x in (*arrays, indices))
                assert tuple(shapes) == tuple(x.shape for x in batches.shapes())
                rows = np.asarray(indices)[np.asarray(indices) >= 0]
                found.append([np.asarray(x)[rows].tobytes() for x in arrays])
        return found

    memory = seen(load_images(paths, SIZE))
    assert len(memory) == 4 * STEPS - 8
    assert memory == seen(ImagesOnDisk(paths, SIZE))


def test_what_cannot_stream_is_told(paths, monkeypatch):
    data = Dataset(ImagesOnDisk(paths, SIZE), np.zeros(len(paths), np.int32), ("a",))
    start = partial(Batches, data, make_mesh(jax.devices()[:1]), batch_size=8)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "grain", None)
        with refused("needs grain: pip install grain, or leave"):
            start()
