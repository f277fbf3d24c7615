"""The audit finds planted copies, leaks and odd images, and those of real data."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from signjax.data import duplicates
from signjax.data.audit import (
    Sample,
    audit,
    audit_parts,
    count_images,
    describe_audit,
    summarize,
)
from signjax.data.duplicates import alike_sets
from signjax.data.leaks import SIGNS_TEST_LEAKS
from signjax.data.signs import read_signs_file
from signjax.errors import InputError
from tests.helpers.datasets import write_signs


def scene(seed: int, size: int = 64) -> np.ndarray:
    """A smooth picture, uint8 [size, size, 3], unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 216, (5, 5, 3)).astype(np.uint8)
    shape = (size, size)
    return np.array(Image.fromarray(coarse).resize(shape, Image.Resampling.BICUBIC))


def write(path: Path, pixels: np.ndarray, **options: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


@pytest.mark.parametrize("block", [7, 2048])
def test_the_sets_are_those_of_a_full_search(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    limits = (4.0, 10.0)
    expected = [connected(distances < limit) for limit in limits]
    digests = [str(i) for i in range(60)]
    found = alike_sets(images.astype(np.uint8), digests, below=limits)
    assert found == expected
    assert [3, 9, 20, 21, 55] in found[1] and [3, 9] in found[0]
    assert list(range(41, 49)) in found[1] and [2, 57] in found[1]


def connected(near: np.ndarray) -> list[list[int]]:
    """The sets of two or more that a symmetric bool [N, N] connects."""
    sets = []
    for start in range(len(near)):
        found = {start}
        while True:
            more = set(np.flatnonzero(near[sorted(found)].any(axis=0)).tolist())
            if more == found:
                break
            found = more
        if min(found) == start and len(found) > 1:
            sets.append(sorted(found))
    return sets


def test_equal_digests_are_a_set_whatever_the_limit() -> None:
    black = np.zeros((5, 32, 32, 3), np.uint8)
    found = alike_sets(black, ["a", "b", "a", "a", "b"], below=(0.0, 10.0))
    assert found == [[[0, 2, 3], [1, 4]], [[0, 1, 2, 3, 4]]]


def test_images_of_one_scene_take_no_memory_for_their_pairs() -> None:
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


def test_a_leak_reaches_through_a_chain_of_copies() -> None:
    """Both test images are leaks, though only one is compared with the training's."""
    first, second = scene(0, 32), scene(0, 32) ^ 1
    test = Sample("b", "test", "y", (32, 32), "2", second)
    train = Sample("a", "train", "x", (32, 32), "1", first)
    report = summarize([train, test, test._replace(name="c")])
    assert report["identical"] == {"sets": [["b", "c"]], "leaked": {}}
    assert report["copies"]["leaked"] == {"train": ["a"], "test": ["b", "c"]}
    assert report["conflicts"] == [{"a": "x", "b": "y", "c": "y"}]


def test_classes_of_no_or_few_images_are_no_error(tmp_path: Path) -> None:
    write(tmp_path / "cat" / "0.png", scene(0))
    assert audit(str(tmp_path))["count"] == count_images(str(tmp_path)) == 1
    (tmp_path / "dog").mkdir()
    report = audit(str(tmp_path))
    assert report["unreadable"] == ["dog in all: no images in this class"]
    assert report["classes"] == {"cat": {"all": 1}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six scenes a class; planted: copies, a leak, a conflict, odd and bad files."""
    for name, first in (("cat", 0), ("dog", 100)):
        for i in range(5):
            write(tmp_path / "train" / name / f"{i}.png", scene(first + i))
        write(tmp_path / "test" / name / "0.png", scene(first + 50))
    write(tmp_path / "train" / "cat" / "same.png", scene(0))
    write(tmp_path / "train" / "dog" / "wrong.png", scene(1))
    write(tmp_path / "test" / "dog" / "leak.jpg", scene(102, 100), quality=75)
    write(tmp_path / "test" / "dog" / "night.png", scene(7) // 5)
    write(tmp_path / "test" / "cat" / "wide.png", np.tile(scene(8), (1, 3, 1)))
    write(tmp_path / "test" / "cat" / "speck.png", scene(9, 20))
    write(tmp_path / "val" / "cat" / "wall.png", np.full((64, 64, 3), 250, np.uint8))
    write(tmp_path / "val" / "dog" / "1.png", scene(60))
    (tmp_path / "train" / "dog" / "page.jpg").write_text("<!DOCTYPE html>")
    (tmp_path / "train" / "dog" / "list.txt").write_text("page.jpg")
    return tmp_path


def test_what_is_planted_is_found_and_nothing_else(folder: Path) -> None:
    report = audit(str(folder))
    assert report["count"] == 20
    assert report["splits"] == {"train": 12, "validation": 2, "test": 6}
    assert report["classes"] == {
        "cat": {"train": 6, "validation": 1, "test": 3},
        "dog": {"train": 6, "validation": 1, "test": 3},
    }
    same = ["train/cat/0.png", "train/cat/same.png"]
    wrong = ["train/cat/1.png", "train/dog/wrong.png"]
    leak = ["train/dog/2.png", "test/dog/leak.jpg"]
    assert report["identical"] == {"sets": [same, wrong], "leaked": {}}
    leaked = {"train": leak[:1], "test": leak[1:]}
    assert report["copies"] == {"sets": [leak, same, wrong], "leaked": leaked}
    assert report["look_alikes"] == report["copies"]
    assert report["conflicts"] == [dict(zip(wrong, ["cat", "dog"], strict=True))]
    odd = {
        name: [text.split(" (")[0] for text in t] for name, t in report["odd"].items()
    }
    assert odd == {
        "val/cat/wall.png": ["almost one color", "very bright"],
        "test/dog/night.png": ["very dark"],
        "test/cat/wide.png": ["long"],
        "test/cat/speck.png": ["tiny"],
    }
    (unreadable,) = report["unreadable"]
    assert "page.jpg" in unreadable and "web page" in unreadable
    assert report["sizes"]["64 x 64"] == 17
    assert report["left_out"] == {".txt files": 1}
    assert count_images(str(folder)) == 21


def test_the_lines_name_what_matters(folder: Path) -> None:
    text = "\n".join(describe_audit(audit(str(folder))))
    assert "LEAK: 1 of 6 test images" in text
    assert "CONFLICT     1 copies under two classes: train/cat/1.png (cat)" in text
    for name in (
        "test/dog/leak.jpg",
        "night.png: very dark",
        "page.jpg",
        "train 12",
        "1 .txt",
    ):
        assert name in text


def test_an_h5_file_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "hands.h5"
    images = np.stack([scene(0), scene(1), scene(0)])
    write_signs(path, images=images, labels=np.array([0, 1, 0]), classes=range(3))
    report = audit(str(path))
    assert report["identical"]["sets"] == [["hands.h5[0]", "hands.h5[2]"]]
    assert report["classes"] == {"0": {"all": 2}, "1": {"all": 1}}
    assert count_images(str(path)) == 3
    data = read_signs_file(path, None)
    other = replace(data, images=data.images ^ 1, names=None)
    in_memory = audit_parts("here", {"train": data, "test": other})
    assert in_memory["copies"]["leaked"]["test"] == ["test[0]", "test[1]", "test[2]"]


def test_a_place_without_images_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            audit(str(path))
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(b"")
    with pytest.raises(
        InputError, match="no image can be read; .*0.png: .* and 1 more"
    ):
        audit(str(tmp_path))


def test_signs_leaks_its_known_twelve_and_has_one_image_without_a_hand(
    shared: Path,
) -> None:
    report = audit(str(shared / "datasets"))
    expected = [f"test_signs.h5[{index}]" for index in SIGNS_TEST_LEAKS]
    assert report["copies"]["leaked"]["test"] == expected
    assert len(report["copies"]["sets"]) == 56
    assert len(report["look_alikes"]["leaked"]["test"]) == 16
    assert report["conflicts"] == []
    odd = {"train_signs.h5[174]": ["almost one color (contrast 9.2 levels)"]}
    assert report["odd"] == odd


def test_the_ankara_digits_repeat_nothing(shared: Path) -> None:
    report = audit(str(shared / "datasets" / "ankara_digits"))
    assert report["count"] == 1032
    assert report["look_alikes"]["sets"] == []
    assert report["odd"] == {} and report["unreadable"] == []
