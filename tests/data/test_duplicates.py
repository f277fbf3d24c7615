"""Equal and nearly equal images are found, and the equal are kept together."""

import tracemalloc

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from signjax.data import duplicates
from signjax.data.dataset import Dataset
from signjax.data.duplicates import (
    alike_sets,
    connect,
    equal_files,
    equal_images,
    join_groups,
)
from signjax.data.splits import grouped_split, hold_out, stratified_holdout


def shades(values: np.ndarray) -> np.ndarray:
    """An image of each shade."""
    images = np.zeros((len(values), 2, 2, 3), np.uint8)
    images[:, 1, 0, 2] = values
    return images


def test_copies_are_held_out_together_and_each_class_by_its_share():
    # Of each class 20 images of which the last ten are five photographs twice.
    values = np.array([*range(10), *[10, 11, 12, 13, 14] * 2])
    shown = np.concatenate([values, 100 + values])
    labels = np.repeat(np.arange(2, dtype=np.int32), 20)
    images = shades(shown)
    data = Dataset(images, labels, ("0", "1"), equal_images(images, labels))
    parted = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        kept, held_out = hold_out(data, fraction=0.2, rng=rng)
        assert sorted([*kept, *held_out]) == list(range(40))
        assert not set(shown[kept]) & set(shown[held_out])
        for label in (0, 1):  # 3 of 15 photographs
            assert len(set(shown[held_out[labels[held_out] == label]])) == 3
        rng = np.random.default_rng(seed)
        kept, held_out = stratified_holdout(labels, fraction=0.2, rng=rng)
        parted += bool(set(shown[kept]) & set(shown[held_out]))
    assert parted > 10  # what would be parted if nobody looked


def test_one_photograph_alone_is_kept_to_train_on():
    # A class of one image, beside copies in another.
    images = shades(np.array([*range(9), 8, 100]))
    labels = np.array([0] * 10 + [1], np.int32)
    data = Dataset(images, labels, ("0", "1"), equal_images(images, labels))
    for seed in range(5):
        rng = np.random.default_rng(seed)
        kept, held_out = hold_out(data, fraction=0.3, rng=rng)
        assert 10 in kept and set(labels[held_out]) == {0}


def test_groups_that_share_a_copy_are_one():
    # Ten people of four images; 0 and 3, and 3 and 7, hold the same photograph.
    groups = np.repeat(np.arange(10, dtype=np.int32), 4)
    values = np.arange(40)
    values[12], values[15], values[29] = values[0], 99, 99
    labels = np.tile(np.arange(2, dtype=np.int32), 20)
    joined = join_groups(groups, equal_images(shades(values), labels))
    assert len(set(joined.tolist())) == 8
    assert len(set(joined[np.isin(groups, [0, 3, 7])].tolist())) == 1
    for seed in range(10):
        rng = np.random.default_rng(seed)
        kept, held_out = grouped_split(labels, joined, fraction=0.3, rng=rng)
        assert not set(values[kept]) & set(values[held_out])
        assert not set(groups[kept]) & set(groups[held_out])


def test_groups_keep_their_order():
    # It is what a seed holds out by.
    groups = np.array([4, 0, 2, 4, 1, 0])
    assert connect(groups, np.array([0]), np.array([4])).tolist() == [1, 0, 2, 1, 1, 0]
    nothing = np.empty(0, int)
    assert connect(np.arange(3), nothing, nothing).tolist() == [0, 1, 2]


def test_files_are_equal_by_bytes_and_label(tmp_path):
    paths = [tmp_path / name for name in "abcd"]
    for path, content in zip(paths, (b"x", b"y", b"long", b"x"), strict=True):
        path.write_bytes(content)
    assert equal_files(paths, np.array([0, 0, 0, 1])).tolist() == [0, 1, 2, 3]
    groups = equal_files([*paths, tmp_path / "missing"], np.zeros(5))
    assert groups.tolist() == [0, 1, 2, 0, 4]


@pytest.mark.parametrize("block", [7, 2048])
def test_alike_sets_are_those_of_a_full_search(block, monkeypatch):
    monkeypatch.setattr(duplicates, "_BLOCK", block)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 32, 32, 3))
    for copy, original, noise in (
        *((9, 3, 5), (20, 3, 12), (21, 20, 4), (39, 0, 1), (55, 9, 14), (2, 57, 14)),
        *((i, i + 1, 12) for i in range(47, 40, -1)),  # a chain over blocks
    ):
        moved = images[original] + rng.integers(-noise, noise + 1, (32, 32, 3))
        images[copy] = np.clip(moved, 0, 255)
    flat = images.reshape(60, -1).astype(float)
    distances = np.sqrt(((flat[:, None] - flat[None]) ** 2).mean(axis=2))
    expected = []
    for limit in (4.0, 10.0):
        count, group = connected_components(distances < limit)
        sets = (np.flatnonzero(group == number).tolist() for number in range(count))
        expected.append([members for members in sets if len(members) > 1])
    digests = [str(i) for i in range(60)]
    found = alike_sets(images.astype(np.uint8), digests, below=(4.0, 10.0))
    assert found == expected
    assert [3, 9, 20, 21, 55] in found[1] and [3, 9] in found[0]
    assert list(range(41, 49)) in found[1] and [2, 57] in found[1]


def test_equal_digests_are_a_set_whatever_the_limit():
    black = np.zeros((5, 32, 32, 3), np.uint8)
    found = alike_sets(black, ["a", "b", "a", "a", "b"], below=(0.0, 10.0))
    assert found == [[[0, 2, 3], [1, 4]], [[0, 1, 2, 3, 4]]]


def test_images_of_one_scene_take_no_memory_for_their_pairs():
    """Of 1,500 frames of a fixed camera all pairs, a million, are nearer than 10."""
    rng = np.random.default_rng(0)
    frames = np.full((1500, 32, 32, 3), 128) + rng.integers(-4, 5, (1500, 32, 32, 3))
    digests = [str(i) for i in range(1500)]
    tracemalloc.start()
    found = alike_sets(frames.astype(np.uint8), digests, below=(0.0, 4.0, 10.0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [[], [list(range(1500))], [list(range(1500))]]
    # Two blocks of thumbnails and their distances; pairs as objects took more.
    assert peak < 250e6
