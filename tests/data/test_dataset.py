"""Names of images travel with them through every split."""

import numpy as np
import pytest

from signjax.config import default_config
from signjax.data.dataset import Dataset, match_classes
from signjax.data.load import hold_out_validation, load_splits
from tests.helpers.datasets import paint_classes
from tests.helpers.refusals import refused


def dataset(names: tuple[str, ...] | None) -> Dataset:
    images = np.arange(9, dtype=np.uint8).reshape(3, 1, 1, 3)
    labels, groups = np.array([[0, 1, 0], [4, 4, 7]], np.int32)
    return Dataset(images, labels, ("x", "y"), groups, names)


def test_names_and_groups_are_taken_joined_and_matched_with_their_images():
    data = dataset(("a", "b", "c"))
    assert data.take(np.array([2, 0])).names == ("c", "a")
    joined = data.join(dataset(("d", "e", "f")))
    assert joined.names == tuple("abcdef")
    assert joined.groups is not None and joined.groups.tolist() == [4, 4, 7, 12, 12, 15]
    assert data.join(dataset(None)).names is None
    matched, left_out = match_classes(data, ("y",))
    assert (matched.names, left_out) == (("b",), {"x": 2})
    assert matched.groups is not None and matched.groups.tolist() == [4]
    with refused("no image of a class that the model knows: .* x, y, the model's z"):
        match_classes(data, ("z",))


def test_files_of_a_folder_are_named_through_a_shuffled_split(tmp_path):
    paint_classes(tmp_path, {"0": 9, "1": 8})
    config = default_config()
    config.data.source, config.data.dir = "folder", str(tmp_path)
    config.data.image_size, config.data.validation_fraction = 32, 0.3
    splits = load_splits(config, pytest.fail)
    train, validation = hold_out_validation(config, splits)
    assert validation is not None
    found = set()
    for part in (train, validation, splits.test):
        assert part.names is not None
        found |= set(part.names)
        for name, image in zip(part.names, part.images, strict=True):
            red, green = image[0, 0, :2]  # the class, and the number of the file
            assert name == f"{red}/{green}.png"
    assert len(found) == 17
