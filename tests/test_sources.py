"""What is named is what is read; synthetic hands only where nothing else can be had."""

import hashlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from PIL import Image

from signjax.data import sources
from signjax.data.dataset import Dataset, Splits
from signjax.data.download import RemoteFile
from signjax.data.image import load_image
from signjax.data.sources import load_labelled, resolve
from signjax.errors import InputError, RunError

ROOT = Path(__file__).parents[1]


def write_signs(directory, seed=0, counts=(12, 6)):
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for split, count in zip(("train", "test"), counts, strict=True):
        with h5py.File(directory / f"{split}_signs.h5", "w") as file:
            shape = (count, 64, 64, 3)
            file[f"{split}_set_x"] = rng.integers(0, 256, shape, dtype=np.uint8)
            file[f"{split}_set_y"] = np.arange(count) % 6
            file["list_classes"] = np.arange(6)
    return directory


def write_folder(directory, classes=("a", "b"), count=5):
    for red, name in enumerate(classes):
        (directory / name).mkdir(parents=True)
        for i in range(count):
            image = Image.new("RGB", (8, 8), (red, i, 0))
            image.save(directory / name / f"{i}.png")
    return directory


def pixels(directory, split="train"):
    with h5py.File(directory / f"{split}_signs.h5") as file:
        return file[f"{split}_set_x"][:]


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def read(warnings):
    def read(source, directory=None, **options):
        defaults = {
            "image_size": 64,
            "test_fraction": 0.2,
            "seed": 3,
            "synthetic_train": 7,
            "synthetic_test": 4,
            "synthetic_classes": 6,
        }
        return resolve(
            source, directory=directory, warn=warnings.append, **defaults | options
        )

    return read


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, no $SIGNJAX_DATA, and no address that answers."""
    monkeypatch.delenv("SIGNJAX_DATA", raising=False)
    monkeypatch.setenv("SIGNJAX_CACHE", str(tmp_path / "cache"))
    serve(monkeypatch, tmp_path / "nothing")
    return tmp_path / "cache"


def serve(monkeypatch, directory):
    """Make the SIGNS files downloadable from `directory`, through file: addresses."""

    def remote(name):
        path = directory / name
        content = path.read_bytes() if path.exists() else b""
        digest = hashlib.sha256(content).hexdigest()
        return RemoteFile(name, (path.as_uri(),), len(content), digest, "")

    names = ("train_signs.h5", "test_signs.h5")
    monkeypatch.setattr(sources, "SIGNS_FILES", tuple(map(remote, names)))


@pytest.fixture
def drawn(monkeypatch):
    """Stands for the drawing program; collects what it was asked for."""
    calls = []

    def synthetic_splits(**options):
        calls.append(options)
        none = Dataset(np.empty((0, 64, 64, 3), np.uint8), np.empty(0, np.int32), ())
        return Splits(none, none, "synthetic", "drawn")

    module = SimpleNamespace(synthetic_splits=synthetic_splits)
    monkeypatch.setitem(sys.modules, "signjax.data.synthetic", module)
    return calls


@pytest.mark.parametrize("source", ["auto", "signs"])
def test_the_named_folder_comes_first(
    read, tmp_path, monkeypatch, cache, source, warnings
):
    named, variable = (write_signs(tmp_path / n, i) for i, n in enumerate("ab"))
    write_signs(cache, 2)
    monkeypatch.setenv("SIGNJAX_DATA", str(variable))
    splits = read(source, str(named))
    np.testing.assert_array_equal(splits.train.images, pixels(named))
    np.testing.assert_array_equal(splits.test.images, pixels(named, "test"))
    assert (splits.source, splits.origin) == ("signs", str(named))
    splits = read(source, "")
    np.testing.assert_array_equal(splits.train.images, pixels(variable))
    monkeypatch.setenv("SIGNJAX_DATA", "")
    splits = read(source)
    np.testing.assert_array_equal(splits.train.images, pixels(cache))
    assert warnings == []


@pytest.mark.parametrize("source", ["auto", "signs"])
def test_missing_files_are_downloaded_into_the_cache(
    read, tmp_path, monkeypatch, cache, source, warnings
):
    remote = write_signs(tmp_path / "remote")
    serve(monkeypatch, remote)
    splits = read(source)
    np.testing.assert_array_equal(splits.train.images, pixels(remote))
    assert sorted(p.name for p in cache.iterdir()) == [
        "test_signs.h5",
        "train_signs.h5",
    ]
    serve(monkeypatch, tmp_path / "nothing")
    assert read(source).sha256 == splits.sha256
    assert warnings == []


def test_auto_without_anything_draws_and_says_so(read, drawn, warnings):
    assert read("auto").source == "synthetic"
    assert drawn == [
        {
            "seed": 3,
            "train_size": 7,
            "test_size": 4,
            "classes": 6,
            "image_size": 64,
        }
    ]
    (warning,) = warnings
    assert "SYNTHETIC" in warning and "SIGNJAX_DATA=DIR" in warning
    assert "train_signs.h5: " in warning and "\n" not in warning


def test_signs_without_anything_is_an_error(read, drawn, warnings):
    with pytest.raises(RunError, match=r"cannot download.*--config\.data\.dir=DIR"):
        read("signs")
    assert drawn == warnings == []


@pytest.mark.parametrize("source", ["auto", "signs"])
def test_a_named_place_never_turns_into_something_else(
    read, tmp_path, monkeypatch, cache, source, drawn, warnings
):
    write_signs(cache)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"not found.*--config\.data\.dir"):
        read(source, tmp_path / "empty")
    with pytest.raises(InputError, match="data.source=folder"):
        read(source, write_folder(tmp_path / "folders"))
    monkeypatch.setenv("SIGNJAX_DATA", str(tmp_path / "typo"))
    with pytest.raises(InputError, match=r"typo: no such folder.*\$SIGNJAX_DATA"):
        read(source)
    assert drawn == warnings == []


def test_a_damaged_file_in_the_cache_is_named(read, cache, drawn):
    write_signs(cache)
    (cache / "test_signs.h5").write_bytes(b"<html>")
    with pytest.raises(InputError, match=r"test_signs\.h5: .*web page.*deleted"):
        read("auto")
    assert drawn == []


def test_synthetic_on_request_is_no_warning(read, drawn, warnings, tmp_path):
    assert read("synthetic", synthetic_classes=10).source == "synthetic"
    assert drawn[0]["classes"] == 10
    assert warnings == []
    with pytest.raises(InputError, match="synthetic reads no folder, but here"):
        read("synthetic", "here")


def test_folder(read, tmp_path):
    directory = write_folder(tmp_path / "photos")
    splits = read("folder", directory, image_size=16)
    assert (splits.source, splits.origin) == ("folder", str(directory))
    assert splits.train.images.shape == (8, 16, 16, 3)
    assert splits.test.images.shape == (2, 16, 16, 3)
    assert splits.sha256 != read("folder", directory, image_size=16, seed=4).sha256
    with pytest.raises(InputError, match="folder needs the folder's name"):
        read("folder")


def test_an_unknown_source_is_named(read):
    with pytest.raises(InputError, match="'sings' is unknown; expected one of auto"):
        read("sings")


def test_signs_in_another_size_is_resized_as_photos_are(read, tmp_path):
    directory = write_signs(tmp_path / "signs")
    splits = read("signs", directory, image_size=32)
    assert splits.train.images.shape == (12, 32, 32, 3)
    Image.fromarray(pixels(directory, "test")[5]).save(tmp_path / "5.png")
    expected = load_image(tmp_path / "5.png", 32)
    np.testing.assert_array_equal(splits.test.images[5], expected)
    labelled = load_labelled(directory, 32)
    np.testing.assert_array_equal(labelled.images, splits.test.images)


def test_sets_to_evaluate_on(tmp_path):
    signs = write_signs(tmp_path / "signs")
    for path, count in (
        (signs, 6),
        (signs / "train_signs.h5", 12),
        (signs / "test_signs.h5", 6),
        (write_folder(tmp_path / "photos"), 10),
    ):
        assert len(load_labelled(str(path), 64).labels) == count
    write_folder(tmp_path / "pair" / "train")
    write_folder(tmp_path / "pair" / "test", count=2)
    assert len(load_labelled(tmp_path / "pair", 64).labels) == 4


def test_sets_that_cannot_be_evaluated_on(tmp_path):
    with pytest.raises(InputError, match="none: cannot be read"):
        load_labelled(tmp_path / "none", 64)
    signs = write_signs(tmp_path / "signs")
    (signs / "test_signs.h5").unlink()
    with pytest.raises(InputError, match=r"test_signs\.h5: cannot be read"):
        load_labelled(signs, 64)


def test_reading_files_does_not_import_jax():
    code = "import sys; import signjax.data.sources; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
