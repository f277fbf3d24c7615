"""From the name of a data source, such as signs or folder, to its images."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from signjax.config import Config
from signjax.data.ankara import ankara_digits, fetch_pictures
from signjax.data.batches import Batches
from signjax.data.dataset import Dataset, Splits
from signjax.data.download import SIGNS_FILES, fetch
from signjax.data.folder import read_folder, read_labelled
from signjax.data.image import WHOLE_SQUARE, CropResize, resize_images
from signjax.data.signs import TEST_FILE, TRAIN_FILE, read_signs, read_signs_file
from signjax.data.splits import hold_out
from signjax.errors import InputError, RunError
from signjax.runtime.files import cache_directory

_SIGNS_INTO_A_FOLDER = (
    f"put {TRAIN_FILE} and {TEST_FILE} into a folder and name it with"
)
_SIGNS_ADVICE = f"{_SIGNS_INTO_A_FOLDER} --config.data.dir=DIR or SIGNJAX_DATA=DIR"


def load_splits(
    config: Config, warn: Callable[[str], None], *, source: str = ""
) -> Splits:
    """The training and test images that `config.data` names.

    source: what its `auto` once came to, to get the same images again.
    """
    data = config.data
    return resolve(
        source or data.source,
        directory=os.path.expanduser(data.dir),
        image_size=data.image_size,
        test_fraction=data.test_fraction,
        seed=config.seed,
        synthetic_train=data.synthetic_train,
        synthetic_test=data.synthetic_test,
        synthetic_classes=data.synthetic_classes,
        synthetic_pose_jitter=data.synthetic_pose_jitter,
        warn=warn,
        crop_resize=CropResize(data.crop, data.interpolation),
        group=data.group,
        stream=data.stream,
    )


def hold_out_validation(
    config: Config, train: Dataset
) -> tuple[Dataset, Dataset | None]:
    """(what is left to train on, the validation images or None).

    Raises InputError where nothing can be held out.
    """
    fraction = config.data.validation_fraction
    if not fraction:
        return train, None
    rng = np.random.default_rng(config.seed)
    kept, held_out = hold_out(train, fraction=fraction, rng=rng)
    if not len(held_out):
        raise InputError(
            f"config.data.validation_fraction is {fraction}, but of the "
            f"{len(train.labels)} training images no class has two that can be parted: "
            "give more images, or set it to 0"
        )
    return train.take(kept), train.take(held_out)


def add_synthetic(config: Config, train: Dataset) -> Dataset:
    """`train`, then the `config.data.synthetic_count` synthetic hands to train on too.

    Raises InputError where the classes are not digits.
    """
    count, classes = config.data.synthetic_count, train.classes
    if not count:
        return train
    if not all(name in map(str, range(10)) for name in classes):
        raise InputError(
            f"config.data.synthetic_count is {count}, but synthetic hands sign the "
            f"digits 0 to 9 and the classes are {', '.join(classes)}: set it to 0"
        )
    # The only source that needs jax: reading files starts without it.
    import jax

    from signjax.synthetic.render import render_hands

    labels = np.arange(count, dtype=np.int32) % len(classes)
    digits = np.array([int(name) for name in classes])[labels]
    # Not the key of weights and steps, and not that of source synthetic's images.
    key = jax.random.fold_in(jax.random.key(config.seed), 2)
    images = render_hands(
        key,
        digits,
        size=config.data.image_size,
        variety=config.data.synthetic_pose_jitter,
    )
    return train.join(Dataset(np.asarray(images), labels, classes))


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


def resolve(
    source: str,
    *,
    directory: str | Path | None,
    image_size: int,
    test_fraction: float,
    seed: int,
    synthetic_train: int,
    synthetic_test: int,
    synthetic_classes: int,
    synthetic_pose_jitter: float,
    warn: Callable[[str], None],
    crop_resize: CropResize = WHOLE_SQUARE,
    group: str = "",
    stream: bool = False,
) -> Splits:
    """Read the images that `source` names, each uint8 [N, image_size, image_size, 3].

    signs: the h5 files of `directory`, else of $SIGNJAX_DATA, else of the user's
    cache, to which they are downloaded. folder: class-named folders in `directory`,
    split by `test_fraction`, `seed` and the rule `group`, left on disk with `stream`.
    digits: in each split SIGNS, of $SIGNJAX_DATA or the cache, and that of a folder,
    which is `directory` or else the Ankara digits, downloaded where need be.
    synthetic: as many hands as asked for, of the first `synthetic_classes` digits, in
    poses of that variety (`render_hands`), drawn from `seed`. auto: signs, and where
    nothing was named and nothing can be downloaded, synthetic, after telling so by
    `warn`.
    `crop_resize` is of what is read; synthetic hands are drawn as they shall be seen.

    Raises InputError where what was named is not there or wrong; RunError where signs
    or digits was asked for and cannot be downloaded.
    """
    synthetic = partial(
        _synthetic,
        seed=seed,
        train_size=synthetic_train,
        test_size=synthetic_test,
        classes=synthetic_classes,
        variety=synthetic_pose_jitter,
        image_size=image_size,
    )
    if source == "synthetic":
        _refuse_directory(directory)
        return synthetic()
    if source in ("folder", "digits"):
        read = _folder if source == "folder" else _digits
        return read(
            directory,
            image_size=image_size,
            test_fraction=test_fraction,
            seed=seed,
            crop_resize=crop_resize,
            group=group,
            stream=stream,
        )
    if source not in ("auto", "signs"):
        raise InputError(
            f"data source {source!r} is unknown; expected one of auto, signs, folder, "
            "digits, synthetic"
        )
    try:
        path, named_by = _locate_signs(directory)
    except RunError as error:
        if source == "signs":
            raise RunError(f"{error}. Without a network: {_SIGNS_ADVICE}") from error
        warn(
            f"NO SIGNS DATA: {error}. This run uses SYNTHETIC hands instead, and its "
            f"results say nothing about SIGNS. For the real data {_SIGNS_ADVICE}"
        )
        return synthetic()
    return _signs(path, named_by, image_size, crop_resize)


def load_labelled(
    path: str | Path, image_size: int, crop_resize: CropResize = WHOLE_SQUARE
) -> Dataset:
    """Read one labelled set to evaluate on: uint8 [N, image_size, image_size, 3].

    path: an h5 file of the SIGNS layout, a folder with the SIGNS files or with train/
    and test/ (of both the test part), or a folder of class-named folders.
    Raises InputError where it is none of these.
    """
    path = Path(path)
    if not path.is_dir():
        return _resized(read_signs_file(path, None), image_size, crop_resize)
    if (path / TEST_FILE).exists() or (path / TRAIN_FILE).exists():
        signs = read_signs_file(path / TEST_FILE, "test")
        return _resized(signs, image_size, crop_resize)
    return read_labelled(path, image_size=image_size, crop_resize=crop_resize)


def _refuse_directory(directory: str | Path | None) -> None:
    if directory:
        raise InputError(
            f"data source synthetic reads no folder, but {directory} is named; "
            "choose signs or folder to read it, or leave the folder out"
        )


def _locate_signs(directory: str | Path | None) -> tuple[Path, str]:
    """The folder of the SIGNS files, downloaded where need be, and who named it.

    Raises RunError where nobody named one and the download fails.
    """
    if directory:
        return Path(directory), (
            "--config.data.dir; for class-named folders say --config.data.source=folder"
        )
    if named := os.environ.get("SIGNJAX_DATA"):
        return Path(named), "$SIGNJAX_DATA"
    cache = cache_directory()
    for file in SIGNS_FILES:
        # A file that is there already need not be the published one: it may be the
        # person's own. Reading checks its content.
        if not (cache / file.name).is_file():
            fetch(file, cache)
    return cache, "the user's cache; a file deleted there is downloaded again"


def _signs(
    path: Path, named_by: str, image_size: int, crop_resize: CropResize
) -> Splits:
    try:
        train, test = read_signs(path)
    except InputError as error:
        raise InputError(f"{error} (the folder comes from {named_by})") from error
    train, test = (_resized(part, image_size, crop_resize) for part in (train, test))
    return Splits(train, test, "signs", str(path))


def _folder(directory: str | Path | None, **options: Any) -> Splits:
    if not directory:
        raise InputError(
            "data source folder needs the folder's name: --config.data.dir=DIR"
        )
    train, test = read_folder(directory, **options)
    return Splits(train, test, "folder", str(directory))


def _digits(
    directory: str | Path | None,
    *,
    image_size: int,
    seed: int,
    crop_resize: CropResize,
    **options: Any,
) -> Splits:
    """SIGNS and a folder in one, over the folder's classes; no group is in both."""
    if directory:
        directory = Path(directory)
    else:
        directory = fetch_pictures(ankara_digits(), cache_directory())
    parts = read_folder(
        directory, image_size=image_size, seed=seed, crop_resize=crop_resize, **options
    )
    try:
        path, named_by = _locate_signs(None)
    except RunError as error:
        raise RunError(
            f"{error}. Without a network: {_SIGNS_INTO_A_FOLDER} SIGNJAX_DATA=DIR"
        ) from error
    signs = _signs(path, named_by, image_size, crop_resize)
    train, test = (
        part.join(_relabelled(own, part.classes, directory))
        for part, own in zip(parts, (signs.train, signs.test), strict=True)
    )
    # Joined, the two would come one after the other to a run in fixed order.
    order = np.random.default_rng(seed).permutation(len(train.labels))
    return Splits(train.take(order), test, "digits", f"SIGNS of {path} and {directory}")


def _relabelled(data: Dataset, classes: tuple[str, ...], directory: Path) -> Dataset:
    """`data` with labels that index the `classes` of the folder `directory`."""
    missing = [name for name in data.classes if name not in classes]
    if missing:
        raise InputError(
            f"{directory}: no class folder {', '.join(missing)} (it has "
            f"{', '.join(classes)}); data source digits needs one for each class of "
            f"SIGNS, {', '.join(data.classes)}"
        )
    labels = np.array([classes.index(name) for name in data.classes], np.int32)
    return replace(data, labels=labels[data.labels], classes=classes)


def _synthetic(**options: Any) -> Splits:
    # The only source that needs jax: reading files starts without it.
    from signjax.synthetic.render import synthetic_splits

    return synthetic_splits(**options)


def _resized(data: Dataset, image_size: int, crop_resize: CropResize) -> Dataset:
    return replace(data, images=resize_images(data.images[:], image_size, crop_resize))
