"""From the name of a data source, such as signs or folder, to its images."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from jax.sharding import Mesh

from signjax.config import Config
from signjax.data.ankara import ankara_digits, fetch_pictures
from signjax.data.arrays import find_arrays
from signjax.data.batches import Batches
from signjax.data.dataset import Dataset, Splits, match_classes
from signjax.data.download import fetch
from signjax.data.folder import read_folder, read_labelled
from signjax.data.image import CropResize, resize_images
from signjax.data.signs import (
    SIGNS_FILES,
    TEST_FILE,
    TRAIN_FILE,
    read_signs,
    read_signs_file,
)
from signjax.data.splits import hold_out
from signjax.data.synthetic import join_synthetic, synthetic_splits
from signjax.errors import InputError, RunError, listed
from signjax.runtime.files import cache_directory

Warn = Callable[[str], None]

_SIGNS_INTO_A_FOLDER = (
    f"put {TRAIN_FILE} and {TEST_FILE} into a folder and name it with"
)
_SIGNS_ADVICE = f"{_SIGNS_INTO_A_FOLDER} --config.data.dir=DIR or SIGNJAX_DATA=DIR"


def load_splits(config: Config, warn: Warn, *, source: str = "") -> Splits:
    """The training and test images that `config.data` names, uint8 [N, S, S, 3].

    source: what its `auto` once came to, to get the same images again.
    Raises InputError where what was named is not there or wrong; RunError where it
    cannot be downloaded.
    """
    source = source or config.data.source
    if source not in _SOURCES:
        raise InputError(
            f"data source {source!r} is unknown; expected one of {listed(_SOURCES)}"
        )
    return _SOURCES[source](config, warn)


def _read_auto(config: Config, warn: Warn) -> Splits:
    """SIGNS, or synthetic hands where nothing was named or can be downloaded."""
    try:
        return _read_signs(config, warn)
    except RunError as error:
        warn(
            f"NO SIGNS DATA: {error}. This run uses SYNTHETIC hands instead, and its "
            "results say nothing about SIGNS"
        )
        return _make_synthetic(config, warn)


def _read_signs(config: Config, _: Warn) -> Splits:
    """The h5 files of `config.data.dir`, of $SIGNJAX_DATA or of the user's cache."""
    directory = _directory(config)
    if directory:
        named_by = (
            "--config.data.dir; for class-named folders say --config.data.source=folder"
        )
        return _signs_of(directory, named_by, config)
    try:
        return _signs_of(*_find_signs(), config)
    except RunError as error:
        raise RunError(f"{error}. Without a network: {_SIGNS_ADVICE}") from error


def _read_class_folders(config: Config, _: Warn) -> Splits:
    """Class-named folders in `config.data.dir`."""
    directory = _directory(config)
    if not directory:
        raise InputError(
            "data source folder needs the folder's name: --config.data.dir=DIR"
        )
    return _folder_of(directory, config)


def _read_digits(config: Config, _: Warn) -> Splits:
    """SIGNS and a folder of digits in one, split by split.

    The folder is `config.data.dir`, or else the Ankara digits, downloaded if need be;
    its classes are those of the whole.
    """
    directory = _directory(config) or fetch_pictures(ankara_digits(), cache_directory())
    folder = _folder_of(directory, config)
    try:
        signs = _signs_of(*_find_signs(), config)
    except RunError as error:
        raise RunError(
            f"{error}. Without a network: {_SIGNS_INTO_A_FOLDER} SIGNJAX_DATA=DIR"
        ) from error
    classes = folder.train.classes
    if missing := [name for name in signs.train.classes if name not in classes]:
        raise InputError(
            f"{directory}: no class folder {listed(missing)} (it has "
            f"{listed(classes)}); data source digits needs one for each class of "
            f"SIGNS, {listed(signs.train.classes)}"
        )
    train, test = (
        part.join(match_classes(own, classes)[0])
        for part, own in ((folder.train, signs.train), (folder.test, signs.test))
    )
    # Joined, the two would come one after the other to a run in fixed order.
    order = np.random.default_rng(config.seed).permutation(len(train))
    return folder._replace(
        train=train.take(order),
        test=test,
        source="digits",
        origin=f"SIGNS of {signs.origin} and {directory}",
    )


def _make_synthetic(config: Config, _: Warn) -> Splits:
    """Synthetic hands, as many as asked for."""
    data = config.data
    if data.dir:
        raise InputError(
            f"data source synthetic reads no folder, but {data.dir} is named; choose "
            "signs or folder to read it, or leave the folder out"
        )
    return synthetic_splits(
        seed=config.seed,
        train_size=data.synthetic_train,
        test_size=data.synthetic_test,
        classes=data.synthetic_classes,
        image_size=data.image_size,
        pose_jitter=data.synthetic_pose_jitter,
    )


_SOURCES: dict[str, Callable[[Config, Warn], Splits]] = {
    "auto": _read_auto,
    "signs": _read_signs,
    "folder": _read_class_folders,
    "digits": _read_digits,
    "synthetic": _make_synthetic,
}


def load_labelled(
    path: str | Path, image_size: int, crop_resize: CropResize, *, group: str = ""
) -> Dataset:
    """Reads one labelled set to evaluate on: uint8 [N, image_size, image_size, 3].

    path: an h5 file of the SIGNS layout, a folder with the SIGNS files or with train/
    and test/ (of both the test part), a folder of class-named folders, or arrays.
    Raises InputError where it is none of these.
    """
    path = Path(path)
    if not path.is_dir() and not find_arrays(path):
        return _resized(read_signs_file(path, None), image_size, crop_resize)
    if (path / TEST_FILE).exists() or (path / TRAIN_FILE).exists():
        signs = read_signs_file(path / TEST_FILE, "test")
        return _resized(signs, image_size, crop_resize)
    return read_labelled(
        path, image_size=image_size, crop_resize=crop_resize, group=group
    )


def hold_out_validation(
    config: Config, splits: Splits
) -> tuple[Dataset, Dataset | None]:
    """(what is left to train on, the validation images or None).

    Data that have validation images of their own give those. Raises InputError where
    nothing can be held out.
    """
    train, fraction = splits.train, config.data.validation_fraction
    if splits.validation is not None or not fraction:
        return train, splits.validation
    rng = np.random.default_rng(config.seed)
    kept, held_out = hold_out(train, fraction=fraction, rng=rng)
    if not len(held_out):
        raise InputError(
            f"config.data.validation_fraction is {fraction}, but of the "
            f"{len(train)} training images no class has two that can be parted: give "
            "more images, or set it to 0"
        )
    return train.take(kept), train.take(held_out)


def add_synthetic(config: Config, train: Dataset) -> Dataset:
    """`train`, then the `config.data.synthetic_count` synthetic hands to train on too.

    Raises InputError where the classes are not digits.
    """
    return join_synthetic(
        train,
        count=config.data.synthetic_count,
        seed=config.seed,
        image_size=config.data.image_size,
        pose_jitter=config.data.synthetic_pose_jitter,
    )


def make_batches(config: Config, data: Dataset, mesh: Mesh) -> Batches:
    """The batches of a run of `config` on `data`, whose last images are synthetic."""
    return Batches(
        data,
        mesh,
        epochs=config.train.epochs,
        batch_size=config.train.batch_size,
        seed=config.seed,
        shuffle=config.train.shuffle,
        drop_remainder=config.train.drop_remainder,
        synthetic_count=config.data.synthetic_count,
        synthetic_epochs=round(
            config.data.synthetic_epoch_fraction * config.train.epochs
        ),
    )


def _directory(config: Config) -> Path | None:
    directory = os.path.expanduser(config.data.dir)
    return Path(directory) if directory else None


def _find_signs() -> tuple[Path, str]:
    """The folder of SIGNS, where none is named by the config, and who named it.

    Raises RunError where nobody did and the download fails.
    """
    if named := os.environ.get("SIGNJAX_DATA"):
        return Path(named), "$SIGNJAX_DATA"
    cache = cache_directory()
    for file in SIGNS_FILES:
        # A file that is there already need not be the published one: it may be the
        # person's own. Reading checks its content.
        if not (cache / file.name).is_file():
            fetch(file, cache)
    return cache, "the user's cache; a file deleted there is downloaded again"


def _signs_of(path: Path, named_by: str, config: Config) -> Splits:
    try:
        parts = read_signs(path)
    except InputError as error:
        raise InputError(f"{error} (the folder comes from {named_by})") from error
    crop_resize = CropResize(config.data.crop, config.data.interpolation)
    train, test = (
        _resized(part, config.data.image_size, crop_resize) for part in parts
    )
    return Splits(train, test, "signs", str(path))


def _folder_of(directory: Path, config: Config) -> Splits:
    return read_folder(
        directory,
        image_size=config.data.image_size,
        test_fraction=config.data.test_fraction,
        seed=config.seed,
        crop_resize=CropResize(config.data.crop, config.data.interpolation),
        group=config.data.group,
        stream=config.data.stream,
    )


def _resized(data: Dataset, image_size: int, crop_resize: CropResize) -> Dataset:
    return replace(data, images=resize_images(data.images[:], image_size, crop_resize))
