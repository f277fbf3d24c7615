"""Equal images are found and kept together."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from signjax.data.dataset import Dataset
from signjax.data.duplicates import connect, equal_files, equal_images, join_groups
from signjax.data.splits import grouped_split, hold_out, stratified_holdout


def shades(values: Sequence[int] | np.ndarray) -> np.ndarray:
    """An image of each shade."""
    images = np.zeros((len(values), 2, 2, 3), np.uint8)
    images[:, 1, 0, 2] = values
    return images


def test_copies_are_held_out_together_and_each_class_by_its_share() -> None:
    # Of each class 20 images of which the last ten are five photographs twice.
    values = [*range(10), *[10, 11, 12, 13, 14] * 2]
    images = shades([*values, *(100 + value for value in values)])
    labels = np.repeat(np.arange(2, dtype=np.int32), 20)
    data = Dataset(images, labels, ("0", "1"), equal_images(images, labels))
    parted = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        kept, held_out = hold_out(data, fraction=0.2, rng=rng)
        assert sorted([*kept, *held_out]) == list(range(40))
        shown = images[:, 1, 0, 2]
        assert not set(shown[kept]) & set(shown[held_out])
        for label in (0, 1):  # 3 of 15 photographs
            assert len(set(shown[held_out[labels[held_out] == label]])) == 3
        rng = np.random.default_rng(seed)
        kept, held_out = stratified_holdout(labels, fraction=0.2, rng=rng)
        parted += bool(set(shown[kept]) & set(shown[held_out]))
    assert parted > 10  # what would be parted if nobody looked


def test_one_photograph_alone_is_kept_to_train_on() -> None:
    # A class of one image, beside copies in another.
    images = shades([*range(9), 8, 100])
    labels = np.array([0] * 10 + [1], np.int32)
    data = Dataset(images, labels, ("0", "1"), equal_images(images, labels))
    for seed in range(5):
        rng = np.random.default_rng(seed)
        kept, held_out = hold_out(data, fraction=0.3, rng=rng)
        assert 10 in kept and set(labels[held_out]) == {0}


def test_groups_that_share_a_copy_are_one() -> None:
    # Ten people of four images; 0 and 3, and 3 and 7, hold the same photograph.
    groups = np.repeat(np.arange(10, dtype=np.int32), 4)
    values = np.arange(40)
    values[12], values[15], values[29] = values[0], 99, 99
    labels = np.tile(np.arange(2, dtype=np.int32), 20)
    same = equal_images(shades(values), labels)
    assert same is not None
    joined = join_groups(groups, same)
    assert joined.dtype == np.int32
    assert len(set(joined.tolist())) == 8
    assert len(set(joined[np.isin(groups, [0, 3, 7])].tolist())) == 1
    for seed in range(10):
        rng = np.random.default_rng(seed)
        kept, held_out = grouped_split(labels, joined, fraction=0.3, rng=rng)
        assert not set(values[kept]) & set(values[held_out])
        assert not set(groups[kept]) & set(groups[held_out])


def test_groups_keep_their_order() -> None:
    # It is what a seed holds out by.
    groups = np.array([4, 0, 2, 4, 1, 0])
    assert connect(groups, np.array([0]), np.array([4])).tolist() == [1, 0, 2, 1, 1, 0]
    nothing = np.empty(0, int)
    assert connect(np.arange(3), nothing, nothing).tolist() == [0, 1, 2]


def test_single_images_have_no_groups(tmp_path: Path) -> None:
    assert equal_images(shades([0, 1, 0]), np.array([0, 0, 1])) is None
    paths = [tmp_path / name for name in "abcd"]
    for path, content in zip(paths, (b"x", b"y", b"long", b"x"), strict=True):
        path.write_bytes(content)
    assert equal_files(paths, [0, 0, 0, 1]) is None
    groups = equal_files([*paths, tmp_path / "missing"], [0] * 5)
    assert groups is not None and groups.tolist() == [0, 1, 2, 0, 4]


@pytest.mark.parametrize("seed", range(3))
def test_no_training_image_of_signs_has_an_equal_one_held_out(
    shared: Path, seed: int
) -> None:
    from signjax.data.signs import read_signs

    train, _ = read_signs(shared / "datasets")
    pixels = np.array([image.tobytes() for image in train.images], object)
    assert len(set(pixels)) == 1080 - 43
    rng = np.random.default_rng(seed)
    kept, held_out = hold_out(train, fraction=0.15, rng=rng)
    assert sorted([*kept, *held_out]) == list(range(1080))
    assert len(held_out) == pytest.approx(162, abs=6)
    assert not set(pixels[kept]) & set(pixels[held_out])
