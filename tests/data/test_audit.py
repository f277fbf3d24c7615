"""The audit finds planted copies, leaks and odd images, and those of real data."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from signjax.data.audit import Sample, audit, describe_audit, find_image, summarize
from signjax.data.leaks import SIGNS_TEST_LEAKS
from signjax.data.parts import open_parts
from tests.helpers.datasets import write_signs
from tests.helpers.refusals import refused


def audited(path: Path) -> dict[str, Any]:
    return audit(str(path), *open_parts(path))


def scene(seed: int, size: int = 64) -> np.ndarray:
    """A smooth picture, uint8 [size, size, 3], unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 216, (5, 5, 3)).astype(np.uint8)
    shape = (size, size)
    return np.array(Image.fromarray(coarse).resize(shape, Image.Resampling.BICUBIC))


def write(path: Path, pixels: np.ndarray, **options: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def test_a_leak_reaches_through_a_chain_of_copies():
    """Both test images are leaks, though only one is compared with the training's."""
    first, second = scene(0, 32), scene(0, 32) ^ 1
    test = Sample("b", "test", "y", (32, 32), "2", second)
    train = Sample("a", "train", "x", (32, 32), "1", first)
    report = summarize([train, test, test._replace(name="c")])
    assert report["identical"] == {"sets": [["b", "c"]], "leaked": {}}
    assert report["copies"]["leaked"] == {"train": ["a"], "test": ["b", "c"]}
    assert report["conflicts"] == [{"a": "x", "b": "y", "c": "y"}]


def test_classes_of_no_or_few_images_are_no_error(tmp_path):
    write(tmp_path / "cat" / "0.png", scene(0))
    assert audited(tmp_path)["count"] == 1
    (tmp_path / "dog").mkdir()
    report = audited(tmp_path)
    assert report["unreadable"] == ["dog in all: no images in this class"]
    assert report["classes"] == {"cat": {"all": 1}}


@pytest.fixture
def folder(tmp_path):
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


def test_what_is_planted_is_found_and_nothing_else(folder):
    report = audited(folder)
    assert report["count"] == 20
    assert report["splits"] == {"train": 12, "validation": 2, "test": 6}
    assert report["classes"] == dict.fromkeys(
        ("cat", "dog"), {"train": 6, "validation": 1, "test": 3}
    )
    same = ["train/cat/0.png", "train/cat/same.png"]
    wrong = ["train/cat/1.png", "train/dog/wrong.png"]
    leak = ["train/dog/2.png", "test/dog/leak.jpg"]
    assert report["identical"] == {"sets": [same, wrong], "leaked": {}}
    leaked = {"train": leak[:1], "test": leak[1:]}
    assert report["copies"] == {"sets": [leak, same, wrong], "leaked": leaked}
    assert report["look_alikes"] == report["copies"]
    assert report["conflicts"] == [dict(zip(wrong, ["cat", "dog"], strict=True))]
    found = report["odd"].items()
    odd = {name: [text.split(" (")[0] for text in texts] for name, texts in found}
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
    splits, _ = open_parts(folder)
    wide = find_image(splits, "test/cat/wide.png")
    np.testing.assert_array_equal(wide, np.tile(scene(8), (1, 3, 1)))


@pytest.mark.parametrize(
    "line",
    [
        "20 images (train 12, validation 2, test 6)",
        "left out     1 .txt files",
        "classes      test: 2 classes, equally many; cat: 3, dog: 3",
        "copies       sets: 3, images: 6 (these",
        "  train/dog/2.png = test/dog/leak.jpg",
        "  LEAK: 1 of 6 test images",
        "conflicts    1 (copies under two classes)",
        "  train/cat/1.png (cat) = train/dog/wrong.png (dog)",
        "odd          4",
        "  test/dog/night.png: very dark",
        "unreadable   1",
        "page.jpg: not an image",
    ],
)
def test_the_lines_name_what_matters(folder, line):
    assert line in "\n".join(describe_audit(audited(folder)))


def test_files_without_folders_are_audited_too(tmp_path):
    path = tmp_path / "hands.h5"
    images = np.stack([scene(0), scene(1), scene(0)])
    write_signs(path, images=images, labels=np.array([0, 1, 0]), classes=range(3))
    report = audited(path)
    assert report["identical"]["sets"] == [["hands.h5[0]", "hands.h5[2]"]]
    assert report["classes"] == {"0": {"all": 2}, "1": {"all": 1}}
    data = open_parts(path).splits["all"]
    splits = {"train": data, "test": replace(data, images=images ^ 1, names=None)}
    report = audit("here", splits, {})
    assert report["copies"]["leaked"]["test"] == ["test[0]", "test[1]", "test[2]"]
    np.testing.assert_array_equal(find_image(splits, "test[1]"), images[1] ^ 1)
    np.savez(tmp_path / "x.npz", images)
    for split, count in (("train", 3), ("test", 2)):
        np.save(tmp_path / f"X_{split}.npy", images[:count])
        np.save(tmp_path / f"Y_{split}.npy", np.arange(count))
    report = audited(tmp_path)
    assert report["splits"] == {"train": 3, "test": 2}
    assert report["left_out"] == {"files beside the arrays": 2}


def test_a_place_without_images_is_refused(tmp_path):
    for path in (tmp_path / "nowhere", tmp_path):
        with refused(str(path)):
            audited(path)
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(b"")
    with refused("no image can be read; .*0.png: .* and 1 more"):
        audited(tmp_path)


def test_signs_leaks_its_known_twelve_and_has_one_image_without_a_hand(shared):
    report = audited(shared / "datasets")
    expected = [f"test_signs.h5[{index}]" for index in SIGNS_TEST_LEAKS]
    assert report["copies"]["leaked"]["test"] == expected
    assert len(report["copies"]["sets"]) == 56
    in_train = [n for n in report["identical"]["sets"] if "test" not in "".join(n)]
    assert len(in_train) == 43
    assert len(report["look_alikes"]["leaked"]["test"]) == 16
    assert report["conflicts"] == []
    odd = {"train_signs.h5[174]": ["almost one color (contrast 9.2 levels)"]}
    assert report["odd"] == odd


def test_the_ankara_digits_repeat_nothing(shared):
    report = audited(shared / "datasets" / "ankara_digits")
    assert report["count"] == 1032
    assert report["look_alikes"]["sets"] == []
    assert report["odd"] == {} and report["unreadable"] == []
