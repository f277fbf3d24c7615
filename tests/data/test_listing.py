"""Every file of a folder is an image of a class, or is counted, or is refused."""

import os
from pathlib import Path

import pytest

from signjax.data.listing import list_folder, list_images
from tests.helpers.refusals import refused


def touch(directory: Path, *names: str) -> Path:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).touch()
    return directory


def found(directory: Path) -> dict[str, dict[str, int]]:
    """Split -> class -> how many images."""
    return {
        split: {name: len(files) for name, files in classes.items()}
        for split, classes in list_folder(directory).splits.items()
    }


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("Train", "valid", "Testing"),
        ("training_set", "Validation", "Test Images"),
        ("TRAIN", "DEV", "test-data"),
        ("trainset", "eval-set", "testing_dataset"),
    ],
)
def test_customary_names_of_splits_are_splits(tmp_path, names):
    touch(tmp_path, *(f"{name}/{c}/0.png" for name in names for c in "ab"))
    wanted = dict.fromkeys(("train", "validation", "test"), {"a": 1, "b": 1})
    assert found(tmp_path) == wanted
    touch(tmp_path, "Dev-Split/a/0.png")
    with refused(f"{names[1]}/.*name the same split: leave one"):
        list_folder(tmp_path)


def test_a_class_may_be_called_as_a_split_is(tmp_path):
    touch(tmp_path, "train/0.png", "bus/0.png", "Test/0.png")
    assert found(tmp_path) == {"all": {"bus": 1, "Test": 1, "train": 1}}
    splits, classes = ("train", "test"), ("train", "bus")
    inside = touch(tmp_path / "x", *(f"{s}/{c}/0.png" for s in splits for c in classes))
    assert found(inside) == dict.fromkeys(splits, {"bus": 1, "train": 1})


@pytest.mark.parametrize("names", [("train", "test"), ("Train",), ("val", "test")])
def test_splits_without_class_folders_are_no_classes(tmp_path, names):
    touch(tmp_path, *(f"{name}/0.png" for name in names))
    with refused("no class folders in it; expected one folder"):
        list_folder(tmp_path)
    touch(tmp_path, f"{names[0]}/a/0.png")
    if len(names) > 1:
        with refused(f"{names[1]}: no class folders in it; .*name the folder beside"):
            list_folder(tmp_path)


@pytest.mark.parametrize(
    ("files", "meant"),
    [
        (("data/a/0.png", "data/b/0.png", "docs/x.png"), "data"),
        (("data/raw/a/0.png", "data/raw/b/0.png"), "data/raw"),
        (("d/train/a/0.png", "d/test/a/0.png", "d/train/b/0.png"), "d"),
        (("Photos/Train/a/0.png", "Photos/Test/a/0.png", "src/x.py"), "Photos"),
        (("s/a/0.png", "s/b/0.png", "l/a/0.png", "l/a/1.png", "l/b/0.png"), "l"),
    ],
)
def test_a_collection_is_no_class_and_the_folder_meant_is_named(tmp_path, files, meant):
    touch(tmp_path, "README.md", *files)
    with refused(f"deeper than a class folder: name {tmp_path / meant}, which"):
        list_folder(tmp_path)
    assert list_folder(tmp_path / meant)


def test_the_folder_that_was_named_is_not_the_one_meant(tmp_path):
    touch(tmp_path, *(f"{s}/{c}/0.png" for s in ("train", "test") for c in "ab"))
    touch(tmp_path, "train/a/more/1.png")
    with refused("train: a/more/1.png is deeper than a class folder: expected one"):
        list_folder(tmp_path)


def test_every_file_is_read_or_counted_by_reason(tmp_path):
    touch(tmp_path, "a/0.png", "_b/1.JPG", "__c__/2.webp")
    touch(tmp_path, "a/notes.txt", "_b/LICENSE", "_b/Thumbs.db", "a/.x.png")
    touch(tmp_path, ".git/x.png", "__MACOSX/a/._0.png", "cover.jpg", "README", "a/.d/y")
    (tmp_path / "a" / "more").symlink_to(tmp_path / "_b")
    os.mkfifo(tmp_path / "a" / "pipe.png")  # to read it would wait for ever
    listing = list_folder(tmp_path)
    assert {k: [f.name for f in v] for k, v in listing.splits["all"].items()} == {
        "__c__": ["2.webp"],
        "_b": ["1.JPG"],
        "a": ["0.png"],
    }
    assert listing.left_out == {
        ".txt files": 1,
        ".db files": 1,
        "files without a suffix": 1,
        "hidden files": 4,
        "links to folders": 1,
        "no regular files": 1,
        "images beside the class folders": 1,
        "files beside the class folders": 1,
    }
    inside = touch(tmp_path / "x", "train/a/0.png", "test/a/0.png", "extra/a/0.png")
    touch(inside, "train/cover.png", "list.csv")
    assert list_folder(inside).left_out == {
        "images beside the splits": 1,
        "files beside the splits": 1,
        "images beside the class folders": 1,
    }


def test_class_folders_may_be_links(tmp_path):
    touch(tmp_path / "elsewhere", "a/0.png", "b/0.png", "b/x.txt")
    (tmp_path / "photos").mkdir()
    for name in "ab":
        (tmp_path / "photos" / name).symlink_to(tmp_path / "elsewhere" / name)
    assert found(tmp_path / "photos") == {"all": {"a": 1, "b": 1}}
    assert list_folder(tmp_path / "photos").left_out == {".txt files": 1}


def test_forms_of_one_name_are_one_class(tmp_path):
    touch(tmp_path, "caf\u00e9/0.png", "cafe\u0301/1.png", "\u212b/0.png", "z/0.png")
    assert found(tmp_path) == {"all": {"caf\u00e9": 2, "z": 1, "\u00c5": 1}}


def test_places_without_classes_are_told(tmp_path):
    with refused("nowhere: No such file or directory; expected one folder of images"):
        list_folder(tmp_path / "nowhere")
    with refused("no class folders in it; expected one folder of images a class"):
        list_folder(tmp_path)
    with refused("x.png: Not a directory"):
        list_folder(touch(tmp_path, "x.png") / "x.png")


def test_a_folder_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    touch(tmp_path, "a/0.png", "b/x/0.png")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if str(path).endswith("x"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    for look in (list_folder, list_images):
        with refused("b/x: Permission denied"):
            look(tmp_path)


def test_images_below_a_folder_come_in_natural_order(tmp_path):
    # A raised 2 is a digit, but no number.
    wanted = [
        "1\u00b22.png",
        f"{'2' * 250}.png",
        "a/IMG_2.JPG",
        "a/IMG_10.jpg",
        "B/x.png",
        "z.heic",
    ]
    touch(tmp_path, *wanted[::-1], ".hidden.jpg", ".git/x.jpg", "a/notes.txt", "x.h5")
    (tmp_path / "folder.jpg").mkdir()
    assert list_images(tmp_path) == [tmp_path / name for name in wanted]
    touch(tmp_path, "photo")
    assert list_images(tmp_path / "photo") == [tmp_path / "photo"]


def test_a_place_without_images_is_told(tmp_path):
    with refused("no images in this folder"):
        list_images(tmp_path)
    for name in ("nowhere", "a" * 300):
        with refused("no such file or folder; expected an image or folder"):
            list_images(tmp_path / name)
