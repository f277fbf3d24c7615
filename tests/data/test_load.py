"""What is named is what is read; synthetic hands only where nothing else can be had."""

import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from signjax.config import check, default_config
from signjax.data import ankara, load, signs
from signjax.data.dataset import Dataset, Splits
from signjax.data.download import RemoteFile
from signjax.data.image import CropResize, load_image
from signjax.data.load import add_synthetic, hold_out_validation, load_splits
from signjax.data.parts import load_labelled
from signjax.errors import RunError
from tests.helpers.datasets import (
    paint_classes,
    paint_people,
    write_signs,
    write_signs_pair,
)
from tests.helpers.refusals import refused

WHOLE = CropResize()


def config_of(source: str, directory: Path | str = "", **data: Any) -> Any:
    config = default_config()
    config.seed = data.pop("seed", 3)
    config.data.source, config.data.dir = source, str(directory)
    config.data.update(data)
    check(config)
    return config


def read(*args: Any, warn: Any = pytest.fail, **data: Any) -> Splits:
    return load_splits(config_of(*args, **data), warn)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, no $SIGNJAX_DATA, and no address that answers."""
    monkeypatch.delenv("SIGNJAX_DATA", raising=False)
    monkeypatch.setenv("SIGNJAX_CACHE", str(tmp_path / "cache"))
    serve(monkeypatch, tmp_path / "nothing")
    return tmp_path / "cache"


def serve(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Makes the SIGNS files and hands.zip of `directory` what is published."""

    def remote(name: str) -> RemoteFile:
        path = directory / name
        content = path.read_bytes() if path.exists() else b""
        digest = hashlib.sha256(content).hexdigest()
        return RemoteFile(name, (path.as_uri(),), len(content), digest)

    names = ("train_signs.h5", "test_signs.h5")
    monkeypatch.setattr(signs, "SIGNS_FILES", tuple(map(remote, names)))
    archive, digests = directory / "hands.zip", {}
    if archive.exists():
        with zipfile.ZipFile(archive) as packed:
            contents = {name: packed.read(name) for name in packed.namelist()}
        digests = {k: hashlib.sha256(v).hexdigest() for k, v in contents.items()}
    monkeypatch.setattr(ankara, "ARCHIVE", archive.as_uri())
    monkeypatch.setattr(ankara, "read_digests", lambda: digests)


def pack(hands: Path, directory: Path) -> Path:
    """Puts the folder `hands` into `directory` as an archive."""
    directory.mkdir(exist_ok=True)
    with zipfile.ZipFile(directory / "hands.zip", "w") as archive:
        for path in hands.rglob("*.png"):
            archive.write(path, path.relative_to(hands))
    return directory


@pytest.fixture
def rendered(monkeypatch):
    """What the renderer, for which this stands, was asked for."""
    calls: list[dict[str, Any]] = []

    def synthetic_splits(**options: Any) -> Splits:
        calls.append(options)
        none = Dataset(np.empty((0, 64, 64, 3), np.uint8), np.empty(0, np.int32), ())
        return Splits(none, none, "synthetic", "rendered")

    monkeypatch.setattr(load, "synthetic_splits", synthetic_splits)
    return calls


def images_of(path: Path) -> Any:
    return signs.read_signs_file(path, None).images


@pytest.mark.parametrize("source", ["auto", "signs"])
def test_the_named_folder_comes_first(tmp_path, monkeypatch, cache, source):
    named = write_signs_pair(tmp_path / "named", seed=0)
    variable = write_signs_pair(tmp_path / "variable", seed=1)
    write_signs_pair(cache, seed=2)
    monkeypatch.setenv("SIGNJAX_DATA", str(variable))
    splits = read(source, named)
    assert np.array_equal(splits.train.images, images_of(named / "train_signs.h5"))
    assert np.array_equal(splits.test.images, images_of(named / "test_signs.h5"))
    assert (splits.source, splits.origin) == ("signs", str(named))
    assert read(source).origin == str(variable)
    monkeypatch.setenv("SIGNJAX_DATA", "")
    assert read(source).origin == str(cache)


@pytest.mark.parametrize("source", ["auto", "signs"])
def test_missing_files_are_downloaded_into_the_cache(
    tmp_path, monkeypatch, cache, source
):
    remote = write_signs_pair(tmp_path / "remote")
    serve(monkeypatch, remote)
    splits = read(source)
    assert np.array_equal(splits.train.images, images_of(remote / "train_signs.h5"))
    assert {p.name for p in cache.iterdir()} == {"test_signs.h5", "train_signs.h5"}
    serve(monkeypatch, tmp_path / "nothing")
    assert read(source).sha256 == splits.sha256


def test_without_anything_auto_alone_renders_hands_and_says_so(rendered):
    with refused(r"cannot download train_signs\.h5.* with SIGNJAX_DATA=DIR", RunError):
        read("signs")
    warned: list[str] = []
    splits = read("auto", warn=warned.append, synthetic_train=70, synthetic_test=40)
    assert splits.source == "synthetic"
    assert rendered == [
        {"seed": 3, "train_size": 70, "test_size": 40, "classes": 6}
        | {"pose_jitter": 0.0, "image_size": 64}
    ]
    (warning,) = warned
    assert "SYNTHETIC" in warning and "SIGNJAX_DATA=DIR" in warning
    assert "train_signs.h5: " in warning and "\n" not in warning


@pytest.mark.parametrize("source", ["auto", "signs"])
def test_a_named_place_never_turns_into_something_else(
    tmp_path, monkeypatch, cache, source
):
    write_signs_pair(cache)
    folders = paint_classes(tmp_path / "folders", {"a": 5, "b": 5})
    with refused(r"not found.*--config\.data\.dir; .*--config.data.source=folder"):
        read(source, folders)
    monkeypatch.setenv("SIGNJAX_DATA", str(tmp_path / "typo"))
    with refused(r"typo: .*no such folder.*\$SIGNJAX_DATA"):
        read(source)
    (cache / "test_signs.h5").write_bytes(b"<html>")
    monkeypatch.delenv("SIGNJAX_DATA")
    with refused(r"test_signs\.h5: .*web page.*deleted"):
        read(source)


def test_synthetic_on_request_is_no_warning(rendered):
    options = {"synthetic_classes": 10, "synthetic_pose_jitter": 0.5}
    assert read("synthetic", **options).source == "synthetic"
    assert (rendered[0]["classes"], rendered[0]["pose_jitter"]) == (10, 0.5)
    with refused("synthetic reads no folder, but here"):
        read("synthetic", "here")


def test_a_folder_is_read_by_its_keys(tmp_path):
    directory = paint_classes(tmp_path / "photos", {"a": 5, "b": 5})
    splits = read("folder", directory, image_size=32)
    assert (splits.source, splits.origin) == ("folder", str(directory))
    assert splits.train.images.shape == (8, 32, 32, 3)
    assert splits.test.images.shape == (2, 32, 32, 3)
    assert splits.sha256 != read("folder", directory, image_size=32, seed=4).sha256
    with refused("folder needs the name of a folder or file"):
        read("folder")
    for name in ("train", "test", "val"):
        paint_classes(tmp_path / "pair" / name, {"a": 2, "b": 2})
    config = config_of("folder", tmp_path / "pair", validation_fraction=0.5)
    splits = load_splits(config, pytest.fail)
    assert hold_out_validation(config, splits) == splits


def of_signs(data: Dataset) -> np.ndarray:
    """Whether each image is noise, as of `write_signs`, or painted: bool [N]."""
    return data.images[:].reshape(len(data), -1, 3).std(axis=1).max(axis=1) > 1


def people(data: Dataset | None) -> set[int]:
    assert data is not None
    return set(data.images[~of_signs(data)][:, 0, 0, 0].tolist())


@pytest.fixture
def own_signs(tmp_path, monkeypatch):
    directory = write_signs_pair(tmp_path / "signs", classes=range(5, -1, -1))
    monkeypatch.setenv("SIGNJAX_DATA", str(directory))
    return directory


def test_digits_joins_signs_and_the_folder_by_class_name(tmp_path, own_signs):
    names = (*"0123456789", "fist")
    hands = paint_people(tmp_path / "hands", names, people=10)
    splits = read("digits", hands, group="sequence")
    assert splits.source == "digits"
    assert str(own_signs) in splits.origin and str(hands) in splits.origin
    for file, part, sizes in (
        ("train_signs.h5", splits.train, (12, 88)),
        ("test_signs.h5", splits.test, (6, 22)),
    ):
        assert part.classes == names
        assert part.labels.dtype == np.int32
        own = of_signs(part)
        assert (np.count_nonzero(own), np.count_nonzero(~own)) == sizes
        # What the file calls class 5 is its label 0.
        images = images_of(own_signs / file)
        known = {x.tobytes(): 5 - i % 6 for i, x in enumerate(images)}
        found = zip(part.images[own], part.labels[own], strict=True)
        assert {x.tobytes(): int(label) for x, label in found} == known
        assert np.array_equal(part.images[~own][:, 0, 0, 1], part.labels[~own])
    # A run in fixed order sees both mixed.
    assert np.count_nonzero(np.diff(of_signs(splits.train))) > 10
    assert read("digits", hands, group="sequence").sha256 == splits.sha256
    assert read("digits", hands, group="sequence", seed=4).sha256 != splits.sha256
    ungrouped = read("digits", hands)
    assert people(ungrouped.train) & people(ungrouped.test)


def test_digits_parts_no_person_for_test_or_validation(tmp_path, own_signs):
    write_signs(own_signs / "train_signs.h5", count=60)
    write_signs(own_signs / "test_signs.h5", "test", count=6)
    hands = paint_people(tmp_path / "hands", "0123456789", people=20)
    config = config_of("digits", hands, group="sequence", validation_fraction=0.25)
    splits = load_splits(config, pytest.fail)
    held_out = hold_out_validation(config, splits)
    train, validation = held_out.train, held_out.validation
    parts = [people(part) for part in (train, validation, splits.test)]
    assert len(parts[2]) == 4 and sum(map(len, parts)) == 20
    assert set.union(*parts) == set(range(20))
    # Images of SIGNS are held out one by one.
    assert validation is not None and 5 <= np.sum(of_signs(validation)) <= 30
    assert len(train) + len(validation) == 60 + 160
    assert 45 <= len(validation) <= 65
    # What names the data finds the same again, as a run that goes on does.
    config.data.source = "auto"
    assert load_splits(config, pytest.fail, source="digits").sha256 == splits.sha256


@pytest.mark.parametrize("source", ["digits", "ankara"])
def test_digits_and_ankara_take_what_is_published(tmp_path, monkeypatch, cache, source):
    remote = write_signs_pair(tmp_path / "remote")
    hands = paint_people(tmp_path / "hands", "0123456789", people=10)
    serve(monkeypatch, pack(hands, remote))
    splits = read(source, group="sequence")
    joined = source == "digits"
    origin = f"SIGNS of {cache} and " * joined + str(cache / "ankara_digits")
    assert (splits.source, splits.origin) == (source, origin)
    assert len(splits.train) == 80 + 12 * joined and len(splits.test) == 20 + 6 * joined
    monkeypatch.setenv("SIGNJAX_DATA", str(remote))
    assert read(source, hands, group="sequence").sha256 == splits.sha256
    assert (cache / "train_signs.h5").exists() == joined


def test_what_digits_lacks_is_named(tmp_path, monkeypatch):
    with refused(r"ankara_digits\.zip.*--config\.data\.dir=DIR", RunError):
        read("digits")
    hands = paint_people(tmp_path / "hands", "012469", people=5)
    with refused(r"_signs\.h5.* with SIGNJAX_DATA=DIR$", RunError):
        read("digits", hands)
    monkeypatch.setenv("SIGNJAX_DATA", str(write_signs_pair(tmp_path / "signs")))
    with refused(r"hands: no class folder 3, 5 \(it has 0, 1"):
        read("digits", hands)


def test_signs_in_another_size_is_resized_as_photos_are(tmp_path):
    directory = write_signs_pair(tmp_path / "signs")
    splits = read("signs", directory, image_size=32, crop=0.8)
    assert splits.train.images.shape == (12, 32, 32, 3)
    Image.fromarray(images_of(directory / "test_signs.h5")[5]).save(tmp_path / "5.png")
    expected = load_image(tmp_path / "5.png", 32, CropResize(0.8))
    assert np.array_equal(splits.test.images[5], expected)
    data, _ = load_labelled(directory, 32, CropResize(0.8))
    assert np.array_equal(data.images, splits.test.images)


def test_sets_to_evaluate_on(tmp_path):
    files = write_signs_pair(tmp_path / "signs")
    pair = tmp_path / "pair"
    paint_classes(pair / "train", {"a": 5, "b": 5})
    paint_classes(pair / "test", {"a": 2, "b": 2})
    for path, count, left_out in (
        (files, 6, {"file train_signs.h5": 1}),
        (files / "train_signs.h5", 12, {}),
        (files / "test_signs.h5", 6, {}),
        (pair / "train", 10, {}),
        (pair, 4, {"images of train": 10}),
    ):
        data, found = load_labelled(str(path), 64, WHOLE)
        assert (len(data), found) == (count, left_out)
    with refused("none: no such file or directory"):
        load_labelled(tmp_path / "none", 64, WHOLE)
    os.mkfifo(tmp_path / "pipe")
    with refused("pipe: no regular file"):
        load_labelled(tmp_path / "pipe", 64, WHOLE)
    (files / "test_signs.h5").unlink()
    with refused(r"test_signs\.h5: no such file"):
        load_labelled(files, 64, WHOLE)


def test_synthetic_hands_follow_the_training_images(monkeypatch):
    jitters, render = [], load.render_classes

    def render_classes(*arguments: Any, **options: Any) -> Dataset:
        jitters.append(options["pose_jitter"])
        return render(*arguments, **options)

    monkeypatch.setattr(load, "render_classes", render_classes)
    config = default_config()
    config.data.synthetic_count, config.data.synthetic_pose_jitter = 5, 0.5
    images, labels = np.zeros((3, 64, 64, 3), np.uint8), np.zeros(3, np.int32)
    data = Dataset(images, labels, ("3", "7"))
    joined = add_synthetic(config, data)
    assert jitters == [0.5]
    assert joined.labels.tolist() == [0, 0, 0, 0, 1, 0, 1, 0]
    assert not joined.images[:3].any() and joined.images[3:].any(axis=(1, 2, 3)).all()
    with refused("synthetic_count is 5.*classes are a, 7"):
        add_synthetic(config, Dataset(images, labels, ("a", "7")))
    config.data.synthetic_count = 0
    assert add_synthetic(config, data) is data
