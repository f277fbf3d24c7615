"""Every file of a folder is an image of a class, or is counted, or is refused."""

import os
from pathlib import Path

import pytest

from signjax.data.listing import list_folder, list_images
from signjax.errors import InputError


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
    "validation", ["val", "valid", "Validation", "DEV", "eval-set"]
)
@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "test"), ("Train", "Testing"), ("training_set", "Test Images")],
)
def test_customary_names_of_splits_are_splits(
    tmp_path: Path, train: str, test: str, validation: str
) -> None:
    names = (train, test, validation)
    touch(tmp_path, *(f"{name}/{c}/0.png" for name in names for c in "ab"))
    assert found(tmp_path) == dict.fromkeys(
        ("train", "validation", "test"), {"a": 1, "b": 1}
    )


def test_two_folders_of_one_split_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{n}/a/0.png" for n in ("train", "test", "val", "valid")))
    with pytest.raises(InputError, match="val/ and valid/ name the same split"):
        list_folder(tmp_path)


def test_a_class_may_be_called_as_a_split_is(tmp_path: Path) -> None:
    touch(tmp_path, "train/0.png", "bus/0.png", "Test/0.png")
    assert found(tmp_path) == {"all": {"bus": 1, "Test": 1, "train": 1}}
    inside = touch(
        tmp_path / "x",
        *(f"{s}/{c}/0.png" for s in ("train", "test") for c in ("train", "bus")),
    )
    assert found(inside) == dict.fromkeys(("train", "test"), {"bus": 1, "train": 1})


@pytest.mark.parametrize("names", [("train", "test"), ("Train",), ("val", "test")])
def test_splits_without_class_folders_are_no_classes(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    touch(tmp_path, *(f"{name}/0.png" for name in names))
    with pytest.raises(InputError, match="no class folders in it; expected one folder"):
        list_folder(tmp_path)
    touch(tmp_path, f"{names[0]}/a/0.png")
    if len(names) > 1:
        with pytest.raises(InputError, match=f"{names[1]}: no class folders in it"):
            list_folder(tmp_path)


@pytest.mark.parametrize(
    ("files", "meant"),
    [
        (("data/a/0.png", "data/b/0.png", "docs/x.png"), "data"),
        (("data/raw/a/0.png", "data/raw/b/0.png"), "data/raw"),
        (("d/train/a/0.png", "d/test/a/0.png", "d/train/b/0.png"), "d"),
        (("Photos/Train/a/0.png", "Photos/Test/a/0.png", "src/x.py"), "Photos"),
        (
            ("s/a/0.png", "s/b/0.png", "big/a/0.png", "big/a/1.png", "big/b/0.png"),
            "big",
        ),
    ],
)
def test_a_collection_is_no_class_and_the_folder_meant_is_named(
    tmp_path: Path, files: tuple[str, ...], meant: str
) -> None:
    touch(tmp_path, "README.md", *files)
    with pytest.raises(InputError, match="is deeper than a class folder") as caught:
        list_folder(tmp_path)
    assert f"as in {tmp_path / meant}: name that" in str(caught.value)
    assert list_folder(tmp_path / meant)


def test_every_file_is_read_or_counted_by_reason(tmp_path: Path) -> None:
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


def test_forms_of_one_name_are_one_class(tmp_path: Path) -> None:
    touch(tmp_path, "caf\u00e9/0.png", "cafe\u0301/1.png", "\u212b/0.png", "z/0.png")
    assert found(tmp_path) == {"all": {"caf\u00e9": 2, "z": 1, "\u00c5": 1}}


def test_places_without_classes_are_told(tmp_path: Path) -> None:
    for path, told in (
        (tmp_path / "nowhere", "nowhere: no such folder"),
        (tmp_path, "no class folders in it; expected one folder of images a class"),
        (touch(tmp_path, "x.png") / "x.png", "is not a folder"),
    ):
        with pytest.raises(InputError, match=told):
            list_folder(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "a/0.png", "b/x/0.png")
    (tmp_path / "b" / "x").chmod(0)
    with pytest.raises(InputError, match="b/x: Permission denied"):
        list_folder(tmp_path)
    (tmp_path / "b" / "x").chmod(0o700)


def test_images_below_a_folder_come_in_natural_order(tmp_path: Path) -> None:
    # A raised 2 is a digit, but no number.
    wanted = ["1\u00b22.png", "a/IMG_2.JPG", "a/IMG_10.jpg", "B/x.png", "z.heic"]
    touch(tmp_path, *wanted[::-1], ".hidden.jpg", ".git/x.jpg", "a/notes.txt", "x.h5")
    (tmp_path / "folder.jpg").mkdir()
    assert list_images(tmp_path) == [tmp_path / name for name in wanted]
    touch(tmp_path, "photo")
    assert list_images(tmp_path / "photo") == [tmp_path / "photo"]


def test_a_place_without_images_is_told(tmp_path: Path) -> None:
    for path, told in (
        (tmp_path, "no images in this folder"),
        (tmp_path / "nowhere", "nowhere: no such file or folder"),
        (tmp_path / ("a" * 300), "a: File name too long; expected an image"),
    ):
        with pytest.raises(InputError, match=told):
            list_images(path)


def test_an_error_while_walking_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/0.png")

    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(InputError, match="Permission denied; expected an image"):
        list_images(tmp_path)
