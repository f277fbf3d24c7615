"""Names and groups of images travel with them."""

import numpy as np

from signjax.data.dataset import Dataset, match_classes
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
