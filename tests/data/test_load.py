"""What is named is what is read; synthetic hands only where nothing else can be had."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from PIL import Image

from signjax import build
from signjax.config import check, default_config
from signjax.data import load as sources
from signjax.data.ankara import RemotePictures
from signjax.data.dataset import Dataset, Splits
from signjax.data.download import RemoteFile
from signjax.data.image import load_image
from signjax.data.load import load_labelled, resolve
from signjax.errors import InputError, RunError

ROOT = Path(__file__).parents[1]


def write_signs(directory, seed=0, counts=(12, 6), classes=range(6)):
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for split, count in zip(("train", "test"), counts, strict=True):
        with h5py.File(directory / f"{split}_signs.h5", "w") as file:
            shape = (count, 64, 64, 3)
            file[f"{split}_set_x"] = rng.integers(0, 256, shape, dtype=np.uint8)
            file[f"{split}_set_y"] = np.arange(count) % 6
            file["list_classes"] = np.array(classes)
    return directory


def write_folder(directory, classes=("a", "b"), count=5):
    for red, name in enumerate(classes):
        (directory / name).mkdir(parents=True)
        for i in range(count):
            image = Image.new("RGB", (8, 8), (red, i, 0))
            image.save(directory / name / f"{i}.png")
    return directory


def write_people(directory, classes=tuple("0123456789"), people=10):
    """Each in turn shows each class: red and green pixels tell person and class."""
    for number in range(people * len(classes)):
        person, label = divmod(number, len(classes))
        folder = directory / classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (person, label, 0)).save(folder / f"{number}.png")
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
            "synthetic_pose_jitter": 0.0,
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
    archive = directory / "hands.zip"
    digests = {}
    if archive.exists():
        with zipfile.ZipFile(archive) as packed:
            digests = {
                name: hashlib.sha256(packed.read(name)).hexdigest()
                for name in packed.namelist()
            }
    hands = RemotePictures("hands", (archive.as_uri(),), digests)
    monkeypatch.setattr(sources, "ankara_digits", lambda: hands)


@pytest.fixture
def drawn(monkeypatch):
    """Stands for the drawing program; collects what it was asked for."""
    calls = []

    def synthetic_splits(**options):
        calls.append(options)
        none = Dataset(np.empty((0, 64, 64, 3), np.uint8), np.empty(0, np.int32), ())
        return Splits(none, none, "synthetic", "drawn")

    module = SimpleNamespace(synthetic_splits=synthetic_splits)
    monkeypatch.setitem(sys.modules, "signjax.synthetic.render", module)
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
            "variety": 0.0,
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


def of_signs(data):
    """Which images are noise, as those of `write_signs`; the others are of one colour.

    bool [N].
    """
    return data.images.reshape(len(data.images), -1, 3).std(axis=1).max(axis=1) > 1


def people(data):
    return set(data.images[~of_signs(data), 0, 0, 0].tolist())


def test_digits_joins_signs_and_the_folder_by_class_name(read, tmp_path, monkeypatch):
    signs = write_signs(tmp_path / "signs", classes=range(5, -1, -1))
    monkeypatch.setenv("SIGNJAX_DATA", str(signs))
    names = (*"0123456789", "fist")
    hands = write_people(tmp_path / "hands", names)
    splits = read("digits", hands, group="sequence")
    assert splits.source == "digits"
    assert str(signs) in splits.origin and str(hands) in splits.origin
    for split, part, sizes in (
        ("train", splits.train, (12, 88)),
        ("test", splits.test, (6, 22)),
    ):
        assert part.classes == names
        assert part.labels.dtype == np.int32
        own = of_signs(part)
        assert (np.count_nonzero(own), np.count_nonzero(~own)) == sizes
        # What the file calls class 5 is its label 0.
        published = {x.tobytes(): 5 - i % 6 for i, x in enumerate(pixels(signs, split))}
        found = zip(part.images[own], part.labels[own], strict=True)
        assert {x.tobytes(): int(label) for x, label in found} == published
        np.testing.assert_array_equal(part.images[~own, 0, 0, 1], part.labels[~own])
    # A run in fixed order sees both mixed.
    assert np.count_nonzero(np.diff(of_signs(splits.train))) > 10
    assert read("digits", hands, group="sequence").sha256 == splits.sha256
    assert read("digits", hands, group="sequence", seed=4).sha256 != splits.sha256


def test_digits_parts_no_person_for_test_or_validation(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGNJAX_DATA", str(write_signs(tmp_path / "signs", 0, (60, 6))))
    config = default_config()
    config.data.source = "digits"
    config.data.dir = str(write_people(tmp_path / "hands", people=20))
    config.data.group = "sequence"
    config.data.validation_fraction = 0.25
    check(config)
    splits = build.load_splits(config, pytest.fail)
    train, validation = build.hold_out_validation(config, splits.train)
    assert validation is not None
    learned, held_out, tested = map(people, (train, validation, splits.test))
    assert learned and held_out and len(tested) == 4
    assert len(learned) + len(held_out) + len(tested) == 20
    assert learned | held_out | tested == set(range(20))
    # Images of SIGNS are drawn one by one.
    assert 5 <= np.count_nonzero(of_signs(validation)) <= 30
    assert len(train.labels) + len(validation.labels) == 60 + 160
    assert 45 <= len(validation.labels) <= 65
    # What names the data finds the same again, as a run that goes on does.
    assert build.load_splits(config, pytest.fail, source="digits").sha256 == (
        splits.sha256
    )


def test_digits_without_a_rule_draws_picture_by_picture(read, tmp_path, monkeypatch):
    monkeypatch.setenv("SIGNJAX_DATA", str(write_signs(tmp_path / "signs")))
    splits = read("digits", write_people(tmp_path / "hands"))
    assert splits.train.groups is None and splits.test.groups is None
    assert people(splits.train) & people(splits.test)


def test_digits_takes_what_is_published(read, tmp_path, monkeypatch, cache, warnings):
    remote = write_signs(tmp_path / "remote")
    hands = write_people(tmp_path / "hands")
    with zipfile.ZipFile(remote / "hands.zip", "w") as archive:
        for path in hands.rglob("*.png"):
            archive.write(path, path.relative_to(hands))
    serve(monkeypatch, remote)
    splits = read("digits", group="sequence")
    assert (cache / "hands").is_dir() and (cache / "train_signs.h5").is_file()
    assert str(cache) in splits.origin and str(cache / "hands") in splits.origin
    monkeypatch.setenv("SIGNJAX_DATA", str(remote))
    assert read("digits", hands, group="sequence").sha256 == splits.sha256
    assert warnings == []


def test_digits_without_anything_is_an_error(read, tmp_path, drawn, warnings):
    with pytest.raises(RunError, match=r"hands\.zip.*--config\.data\.dir=DIR") as one:
        read("digits")
    with pytest.raises(RunError, match=r"_signs\.h5.* with SIGNJAX_DATA=DIR$") as two:
        read("digits", write_people(tmp_path / "hands"))
    assert "\n" not in f"{one.value}{two.value}"
    assert drawn == warnings == []


def test_digits_names_a_class_that_the_folder_lacks(read, tmp_path, monkeypatch):
    monkeypatch.setenv("SIGNJAX_DATA", str(write_signs(tmp_path / "signs")))
    hands = write_people(tmp_path / "hands", tuple("012469"))
    with pytest.raises(InputError, match=r"hands: no class folder 3, 5 \(it has 0, 1"):
        read("digits", hands)


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
    with pytest.raises(InputError, match="none: no such file or folder"):
        load_labelled(tmp_path / "none", 64)
    signs = write_signs(tmp_path / "signs")
    (signs / "test_signs.h5").unlink()
    with pytest.raises(InputError, match=r"test_signs\.h5: no such file"):
        load_labelled(signs, 64)


def test_joined_data_keep_their_groups_apart():
    def data(count, groups):
        groups = None if groups is None else np.array(groups, np.int32)
        labels = np.zeros(count, np.int32)
        return Dataset(np.zeros((count, 2, 2, 3), np.uint8), labels, ("a",), groups)

    def joined(one, other):
        groups = one.join(other).groups
        assert groups.dtype == np.int32
        return groups.tolist()

    assert joined(data(3, [0, 4, 0]), data(2, [1, 1])) == [0, 4, 0, 6, 6]
    assert joined(data(3, [0, 4, 0]), data(2, None)) == [0, 4, 0, 5, 6]
    assert joined(data(2, None), data(3, [0, 4, 0])) == [0, 1, 2, 6, 2]
    assert joined(data(0, None), data(1, [3])) == [3]
    assert data(2, None).join(data(1, None)).groups is None


def test_reading_files_does_not_import_jax():
    code = "import sys; import signjax.data.load; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
