"""From the name of a data source, such as signs or folder, to its images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jax.sharding import Mesh

from signjax.config import Config
from signjax.data.ankara import fetch_ankara
from signjax.data.batches import Batches
from signjax.data.bucket import copied_here
from signjax.data.dataset import Dataset, Splits, match_classes
from signjax.data.folder import read_folder
from signjax.data.image import CropResize
from signjax.data.signs import find_signs, read_signs
from signjax.data.splits import hold_out
from signjax.data.synthetic import render_classes, synthetic_splits
from signjax.errors import InputError, RunError, listed
from signjax.runtime.files import cache_directory


def load_splits(
    config: Config, warn: Callable[[str], None], *, source: str = ""
) -> Splits:
    """The training and test images that `config.data` names, uint8 [N, S, S, 3].

    auto is SIGNS or, where nothing is named and nothing can be downloaded, synthetic
    hands, after telling so by `warn`. source: what auto once came to, to get the same
    images again.

    Raises InputError where what was named is not there or wrong; RunError where it
    cannot be downloaded.
    """
    source = source or config.data.source
    if source == "auto":
        try:
            return _SOURCES["signs"](config)
        except RunError as error:
            warn(
                f"NO SIGNS DATA: {error}. This run uses SYNTHETIC hands instead, and "
                "its results say nothing about SIGNS"
            )
            source = "synthetic"
    if source not in _SOURCES:
        raise InputError(
            f"data source {source!r} has no row of _SOURCES in signjax/data/load.py: "
            f"add one, or choose one of auto, {listed(_SOURCES)}"
        )
    return _SOURCES[source](config)


def _read_digits(config: Config) -> Splits:
    """SIGNS and a folder of digits in one, split by split, over the folder's classes.

    The folder is `config.data.dir`, or else the Ankara digits, downloaded if need be.
    """
    directory = _directory(config) or fetch_ankara(cache_directory())
    folder = _folder_of(config, directory)
    signs = _signs_of(config, None)
    classes = folder.train.classes
    if missing := [name for name in signs.train.classes if name not in classes]:
        raise InputError(
            f"{directory}: no class folder {listed(missing)} (it has "
            f"{listed(classes)}); data source digits needs one for each class of SIGNS"
        )
    train, test = (
        part.join(match_classes(own, classes)[0])
        for part, own in ((folder.train, signs.train), (folder.test, signs.test))
    )
    # Joined, the two would come one after the other to a run in fixed order.
    order = np.random.default_rng(config.seed).permutation(len(train))
    origin = f"SIGNS of {signs.origin} and {directory}"
    return folder._replace(
        train=train.take(order), test=test, source="digits", origin=origin
    )


def _read_ankara(config: Config) -> Splits:
    """The Ankara digits of `config.data.dir`, or else downloaded if need be."""
    directory = _directory(config) or fetch_ankara(cache_directory())
    return _folder_of(config, directory)._replace(source="ankara")


def _make_synthetic(config: Config) -> Splits:
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


_SOURCES = {
    "signs": lambda config: _signs_of(config, _directory(config)),
    "folder": lambda config: _folder_of(config, _named_directory(config)),
    "digits": _read_digits,
    "ankara": _read_ankara,
    "synthetic": _make_synthetic,
}


def _directory(config: Config) -> Path | None:
    return copied_here(config.data.dir) if config.data.dir else None


def _named_directory(config: Config) -> Path:
    if directory := _directory(config):
        return directory
    raise InputError(
        f"data source {config.data.source} needs the name of a "
        "folder or file: --config.data.dir=PATH"
    )


def _signs_of(config: Config, directory: Path | None) -> Splits:
    path, named_by = find_signs(directory)
    try:
        parts = read_signs(path)
    except InputError as error:
        raise InputError(f"{error} (the folder comes from {named_by})") from error
    train, test = (part.resized(*_transform(config)) for part in parts)
    return Splits(train, test, "signs", str(path))


def _folder_of(config: Config, directory: Path) -> Splits:
    data = config.data
    return read_folder(
        directory,
        *_transform(config),
        test_fraction=data.test_fraction,
        seed=config.seed,
        group=data.group,
        stream=data.stream,
    )


def _transform(config: Config) -> tuple[int, CropResize]:
    """How a photograph becomes an image for the network."""
    data = config.data
    crop_resize = CropResize(data.crop, data.interpolation, data.letterbox)
    return data.image_size, crop_resize


def hold_out_validation(config: Config, splits: Splits) -> Splits:
    """`splits` with `config.data.validation_fraction` of its training images held out.

    They are its `validation`, but for data that have one of their own. Raises
    InputError where nothing can be held out.
    """
    train, fraction = splits.train, config.data.validation_fraction
    if splits.validation is not None or not fraction:
        return splits
    rng = np.random.default_rng(config.seed)
    kept, held_out = hold_out(train, fraction=fraction, rng=rng)
    if not len(held_out):
        raise InputError(
            f"config.data.validation_fraction is {fraction}, but of the "
            f"{len(train)} training images no class has two that can be parted: give "
            "more images, or set it to 0"
        )
    return splits._replace(train=train.take(kept), validation=train.take(held_out))


def add_synthetic(config: Config, train: Dataset) -> Dataset:
    """`train`, then `config.data.synthetic_count` synthetic hands to train on too.

    Raises InputError where the classes are not digits.
    """
    count = config.data.synthetic_count
    if not count:
        return train
    if not all(name in map(str, range(10)) for name in train.classes):
        raise InputError(
            f"config.data.synthetic_count is {count}, but synthetic hands sign the "
            f"digits 0 to 9 and the classes are {listed(train.classes)}: set it to 0"
        )
    hands = render_classes(
        train.classes,
        count=count,
        seed=config.seed,
        image_size=config.data.image_size,
        pose_jitter=config.data.synthetic_pose_jitter,
    )
    return train.join(hands)


def make_batches(config: Config, data: Dataset, mesh: Mesh) -> Batches:
    """The batches of a run of `config` on `data`, whose last images are synthetic."""
    return Batches(
        data,
        mesh,
        batch_size=config.train.batch_size,
        seed=config.seed,
        shuffle=config.train.shuffle,
        drop_remainder=config.train.drop_remainder,
        synthetic_count=config.data.synthetic_count,
        synthetic_epochs=round(
            config.data.synthetic_epoch_fraction * config.train.epochs
        ),
    )
