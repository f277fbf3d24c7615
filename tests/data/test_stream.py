"""Images on disk are an array of them, but for what is in memory."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from signjax.data import stream
from signjax.data.dataset import Dataset
from signjax.data.folder import read_folder
from signjax.data.image import CropResize, load_images
from signjax.data.stream import ImagesOnDisk
from tests.helpers.refusals import refused
from tests.helpers.streaming import SIZE


def test_images_on_disk_are_indexed_as_an_array_of_them(image_folder):
    paths = sorted(image_folder.glob("train/*/*.png"))
    crop_resize = CropResize(crop=0.8, interpolation="bilinear")
    array = load_images(paths, SIZE, crop_resize)
    whole = ImagesOnDisk(paths)
    np.testing.assert_array_equal(whole[3], np.asarray(Image.open(paths[3])))
    images = whole.resized(SIZE, crop_resize)
    assert (len(images), images.shape) == (len(array), array.shape)
    assert images.dtype == array.dtype
    some, mask = np.array([3, -1, 0, 3]), array[:, 0, 0, 0] > 99
    for index in (7, -1, np.int32(2), slice(5, 9), slice(40, 99), some, mask):
        np.testing.assert_array_equal(images[index], array[index])
    np.testing.assert_array_equal(list(images), array)
    np.testing.assert_array_equal(images.take(some)[1:], array[some][1:])


def test_taking_a_part_reads_nothing():
    nowhere = ImagesOnDisk([Path("nowhere/0.png"), Path("nowhere/1.png")], SIZE)
    data = Dataset(nowhere, np.array([0, 1], np.int32), ("a", "b"))
    part = data.take(np.array([1]))
    assert part.labels.tolist() == [1]
    with refused(r"1 of 1 .*nowhere.1\.png: no such file"):
        part.images[:]


def test_the_split_and_its_digest_are_those_of_memory(image_folder, monkeypatch):
    monkeypatch.setattr(stream, "_PART", 5)
    monkeypatch.setitem(sys.modules, "grain", None)  # evaluation needs no reading ahead
    for directory in (image_folder, image_folder / "train"):
        options = {"test_fraction": 0.3, "seed": 3}
        read = partial(read_folder, directory, SIZE, CropResize(), **options)
        memory, disk = read(), read(stream=True)
        assert memory.sha256 == disk.sha256
        for one, other in zip(memory[:2], disk[:2], strict=True):
            np.testing.assert_array_equal(one.images, other.images[:])
            np.testing.assert_array_equal(one.labels, other.labels)
            assert isinstance(other.images, ImagesOnDisk)
