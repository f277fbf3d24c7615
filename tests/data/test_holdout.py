"""What is held out: its share of each class or group, and nothing trained on."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from signjax.data.dataset import Dataset
from signjax.data.duplicates import equal_images, join_groups
from signjax.data.folder import read_folder
from signjax.data.signs import read_signs
from signjax.data.splits import grouped_split, hold_out, stratified_holdout
from signjax.errors import InputError


def test_no_training_image_of_signs_has_an_equal_one_held_out(shared: Path) -> None:
    train, _ = read_signs(shared / "datasets")
    pixels = np.array([image.tobytes() for image in train.images], object)
    assert len(set(pixels)) == 1080 - 43
    for seed in range(3):
        rng = np.random.default_rng(seed)
        kept, held_out = hold_out(train, fraction=0.15, rng=rng)
        assert sorted([*kept, *held_out]) == list(range(1080))
        assert len(held_out) == pytest.approx(162, abs=6)
        assert not set(pixels[kept]) & set(pixels[held_out])


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
    groups = equal_images(images, labels)
    data = Dataset(images, labels, ("0", "1"), groups)
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


@pytest.mark.parametrize("group", ["", "^(.)_"])
def test_copies_of_a_file_are_never_parted(tmp_path: Path, group: str) -> None:
    for label in range(2):
        (tmp_path / str(label)).mkdir()
        for i in range(12):
            # Files 10 and 11 are copies of 0 and 1, of other people by their names.
            image = Image.new("RGB", (4, 4), (100 * label + i % 10, 0, 0))
            image.save(tmp_path / str(label) / f"{'abcdef'[i // 2]}_{i}.png")
    for seed in range(10):
        options = {"test_fraction": 0.4, "seed": seed, "group": group}
        parts = read_folder(tmp_path, image_size=4, **options)
        train, test = (set(part.images[:, 0, 0, 0].tolist()) for part in parts)
        assert len(train) + len(test) == 20 and not train & test
        streamed = read_folder(tmp_path, image_size=4, stream=True, **options)
        for part, again in zip(parts, streamed, strict=True):
            assert np.array_equal(part.images, again.images[:])


def test_one_photograph_alone_is_kept_to_learn_from() -> None:
    # A class of one image, beside copies in another.
    images = shades([*range(9), 8, 100])
    labels = np.array([0] * 10 + [1], np.int32)
    groups = equal_images(images, labels)
    data = Dataset(images, labels, ("0", "1"), groups)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        kept, held_out = hold_out(data, fraction=0.3, rng=rng)
        assert 10 in kept and set(labels[held_out]) == {0}


def test_a_class_of_copies_alone_cannot_be_tested(tmp_path: Path) -> None:
    for label in range(2):
        (tmp_path / str(label)).mkdir()
        for i in range(3):
            image = Image.new("RGB", (4, 4), (label, i * (1 - label), 0))
            image.save(tmp_path / str(label) / f"{i}.png")
    with pytest.raises(InputError, match="class 1 has 3 images, all of one group or"):
        read_folder(tmp_path, image_size=4, test_fraction=0.3, seed=0)


def test_a_copy_does_not_hide_who_is_in_both_parts(tmp_path: Path) -> None:
    for part, people in (("train", "abc"), ("test", "de")):
        for shade, person in enumerate(people):
            for label in range(2):
                path = tmp_path / part / str(label) / f"{person}_{label}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (4, 4), (shade, label, len(people))).save(path)
    options = {"image_size": 4, "test_fraction": 0.5, "seed": 0, "group": "^(.)_"}
    folder = tmp_path / "train" / "0"
    shutil.copy(folder / "a_0.png", folder / "c_3.png")
    train, _ = read_folder(tmp_path, **options)
    assert train.groups is not None and len(set(train.groups)) == 2  # a and c are one
    shutil.copy(folder / "c_0.png", tmp_path / "test" / "0" / "c_0.png")
    with pytest.raises(InputError, match="1 images of test/ belong to groups"):
        read_folder(tmp_path, **options)


def test_a_copy_under_another_class_does_not_hinder_a_split(tmp_path: Path) -> None:
    # Two pictures a class: drawn without regard to classes, no split has each twice.
    for label in range(20):
        (tmp_path / str(label)).mkdir()
        for i in range(2):
            image = Image.new("RGB", (4, 4), (0, 0, 0) if not i else (label + 1, 0, 0))
            image.save(tmp_path / str(label) / f"{i}.png")
    train, test = read_folder(tmp_path, image_size=4, test_fraction=0.5, seed=0)
    assert sorted(train.labels) == sorted(test.labels) == list(range(20))


def test_groups_that_share_a_copy_are_one() -> None:
    # Ten people of four images; 0 and 3, and 3 and 7, hold the same photograph.
    groups = np.repeat(np.arange(10, dtype=np.int32), 4)
    values = np.arange(40)
    values[12], values[15], values[29] = values[0], 99, 99
    labels = np.tile(np.arange(2, dtype=np.int32), 20)
    images = shades(values)
    same = equal_images(images, labels)
    assert same is not None
    joined = join_groups(groups, same)
    data = Dataset(images, labels, ("0", "1"), joined)
    sides = set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        kept, held_out = hold_out(data, fraction=0.4, rng=rng)
        assert not set(groups[kept]) & set(groups[held_out])
        assert not set(values[kept]) & set(values[held_out])
        sides.add(bool({0, 3, 7} & set(groups[held_out].tolist())))
    assert sides == {True, False}


def test_holdout_takes_its_share_of_each_class() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 20])[
        np.random.default_rng(0).permutation(100)
    ]
    kept, held_out = stratified_holdout(
        labels, fraction=0.2, rng=np.random.default_rng(0)
    )
    assert np.bincount(labels[held_out]).tolist() == [10, 6, 4]
    assert sorted([*kept, *held_out]) == list(range(100))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held_out) > 0).all()


def test_holdout_leaves_and_takes_an_image_of_every_class() -> None:
    labels = np.repeat([0, 1], [2, 40])
    for fraction in (0.01, 0.99):
        kept, held_out = stratified_holdout(
            labels, fraction=fraction, rng=np.random.default_rng(0)
        )
        assert set(labels[kept]) == set(labels[held_out]) == {0, 1}


def test_holdout_follows_the_seed() -> None:
    labels = np.repeat([0, 1], 40)
    first, again, other = (
        stratified_holdout(labels, fraction=0.2, rng=np.random.default_rng(seed))[1]
        for seed in (5, 5, 6)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.9])
def test_a_split_parts_no_group_and_keeps_every_class(
    seed: int, fraction: float
) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 40, 400) * 3
    labels = rng.integers(0, 4, 400)
    kept, held_out = grouped_split(labels, groups, fraction=fraction, rng=rng)
    assert sorted([*kept, *held_out]) == list(range(400))
    assert not set(groups[kept]) & set(groups[held_out])
    assert set(labels[kept]) == set(labels[held_out]) == {0, 1, 2, 3}
    assert abs(len(held_out) - 400 * fraction) < 20


def test_a_rare_class_is_put_on_both_sides_or_the_split_refused() -> None:
    groups = np.repeat(np.arange(20), 5)
    labels = np.zeros(100, int)
    labels[[0, 99]] = 1  # shown by two of 20 people
    for seed in range(20):
        rng = np.random.default_rng(seed)
        kept, held_out = grouped_split(labels, groups, fraction=0.5, rng=rng)
        assert set(labels[kept]) == set(labels[held_out]) == {0, 1}
    labels[99] = 0
    for wrong in (groups, np.zeros(100, int)):
        with pytest.raises(InputError, match="more people"):
            grouped_split(labels, wrong, fraction=0.5, rng=np.random.default_rng(0))
