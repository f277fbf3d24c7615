"""Pictures are read from disk in the order of the batches, a few at a time."""

import gc
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from signjax.data import stream
from signjax.data.batches import epoch_batches
from signjax.data.dataset import Dataset, Splits
from signjax.data.folder import read_folder
from signjax.data.image import CropResize, load_images
from signjax.data.stream import ImagesOnDisk, ReadAhead
from signjax.errors import InputError
from tests.helpers.streaming import BATCH, EPOCHS, SIZE, STEPS, Alive, write_pictures

pytestmark = pytest.mark.usefixtures("needs_grain")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("train/*/*.png"))


def order(count: int, *, seed: int = 5, **changes: Any) -> Callable[[int], np.ndarray]:
    options = {"shuffle": True, "drop_remainder": False} | changes
    return lambda epoch: epoch_batches(count, BATCH, seed=seed, epoch=epoch, **options)


def read_all(ahead: ReadAhead) -> list[tuple[np.ndarray, np.ndarray]]:
    found = list(ahead)
    ahead.close()
    return found


def test_images_on_disk_are_indexed_as_an_array_of_them(paths: list[Path]) -> None:
    crop_resize = CropResize(crop=0.8, interpolation="bilinear")
    array = load_images(paths, SIZE, crop_resize)
    images = ImagesOnDisk(paths, SIZE, crop_resize)
    assert (len(images), images.shape, images.dtype) == (
        len(array),
        array.shape,
        array.dtype,
    )
    some = np.array([3, -1, 0, 3])
    for index in (
        7,
        -1,
        np.int32(2),
        slice(5, 9),
        slice(40, 99),
        some,
        array[:, 0, 0, 0] > 99,
    ):
        np.testing.assert_array_equal(images[index], array[index])
    np.testing.assert_array_equal(list(images), array)
    np.testing.assert_array_equal(images.take(some)[1:], array[some][1:])


def test_taking_a_part_reads_nothing() -> None:
    nowhere = ImagesOnDisk([Path("nowhere/0.png"), Path("nowhere/1.png")], SIZE)
    data = Dataset(nowhere, np.array([0, 1], np.int32), ("a", "b"))
    part = data.take(np.array([1]))
    assert part.labels.tolist() == [1]
    with pytest.raises(InputError, match=r"1 of 1 .*nowhere.1\.png: no such file"):
        part.images[:]


def test_the_split_and_its_digest_are_those_of_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_PART", 5)
    for directory in (folder, folder / "train"):
        read = partial(
            read_folder, directory, image_size=SIZE, test_fraction=0.3, seed=3
        )
        memory, disk = (Splits(*read(stream=s), "folder", "") for s in (False, True))
        assert memory.sha256 == disk.sha256
        for one, other in zip(memory[:2], disk[:2], strict=True):
            np.testing.assert_array_equal(one.images, other.images[:])
            np.testing.assert_array_equal(one.labels, other.labels)
            assert isinstance(other.images, ImagesOnDisk)


@pytest.mark.parametrize("drop_remainder", [False, True])
def test_batches_are_read_in_their_order_from_any_step(
    paths: list[Path], drop_remainder: bool
) -> None:
    images, array = ImagesOnDisk(paths, SIZE), load_images(paths, SIZE)
    batches = order(len(paths), drop_remainder=drop_remainder)
    wanted = [indices for epoch in range(EPOCHS) for indices in batches(epoch)]
    assert (wanted[-1].min() == -1) is not drop_remainder
    assert sorted(wanted[0]) != sorted(wanted[len(wanted) // EPOCHS])
    for first in (0, 1, 8, len(wanted) - 1, len(wanted)):
        read = read_all(ReadAhead(images, batches, epochs=EPOCHS, first_step=first))
        assert len(read) == len(wanted) - first
        for (indices, pixels), expected in zip(read, wanted[first:], strict=True):
            np.testing.assert_array_equal(indices, expected)
            np.testing.assert_array_equal(pixels, array[expected])
            assert pixels.dtype == np.uint8


def test_only_some_pictures_are_in_memory_at_any_time(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = Alive(stream.load_image)
    monkeypatch.setattr(stream, "load_image", alive)
    ahead = ReadAhead(ImagesOnDisk(paths, SIZE), order(len(paths)), epochs=10)
    for step, _ in enumerate(ahead, start=1):
        expected = min((step + 2) * BATCH, 10 * STEPS * BATCH)
        deadline = time.monotonic() + 10
        while alive.decoded < expected and time.monotonic() < deadline:
            time.sleep(0.001)  # so that it reads as far ahead as it ever does
        assert alive.decoded == expected
    ahead.close()
    assert alive.decoded == 10 * STEPS * BATCH
    assert alive.most <= 3 * BATCH  # two batches ahead of the one that is put together
    del ahead
    gc.collect()
    assert alive.now == 0
