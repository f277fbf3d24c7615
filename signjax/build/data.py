"""config -> the images to train on, to hold out and to test."""

import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from signjax.config import Config
from signjax.data import sources
from signjax.data.dataset import Dataset, Splits
from signjax.data.holdout import hold_out
from signjax.data.image import Framing
from signjax.data.synthetic import draw_hands
from signjax.errors import InputError


def load_splits(
    config: Config, warn: Callable[[str], None], *, source: str = ""
) -> Splits:
    """The training and test images that `config.data` names.

    source: what its `auto` once came to, to get the same images again.
    """
    data = config.data
    return sources.resolve(
        source or data.source,
        directory=os.path.expanduser(data.dir),
        image_size=data.image_size,
        test_fraction=data.test_fraction,
        seed=config.seed,
        synthetic_train=data.synthetic_train,
        synthetic_test=data.synthetic_test,
        synthetic_classes=data.synthetic_classes,
        synthetic_variety=data.synthetic_variety,
        warn=warn,
        framing=framing(config),
        group=data.group,
        stream=data.stream,
    )


def framing(config: Config) -> Framing:
    """What the network is shown of a picture, in training as in prediction."""
    return Framing(config.data.crop, config.data.interpolation)


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


def draw_extra(config: Config, classes: tuple[str, ...]) -> Dataset | None:
    """The `config.data.synthetic_extra` drawn hands to train on too, if any.

    Raises InputError where the classes are not digits.
    """
    count = config.data.synthetic_extra
    if not count:
        return None
    if not all(name in map(str, range(10)) for name in classes):
        raise InputError(
            f"config.data.synthetic_extra is {count}, but drawn hands sign the digits "
            f"0 to 9 and the classes are {', '.join(classes)}: set it to 0"
        )
    labels = np.arange(count, dtype=np.int32) % len(classes)
    digits = np.array([int(name) for name in classes])[labels]
    # Not the key of weights and steps, and not that of source synthetic's images.
    key = jax.random.fold_in(jax.random.key(config.seed), 2)
    data = config.data
    images = draw_hands(
        key,
        jnp.asarray(digits),
        size=data.image_size,
        variety=data.synthetic_variety,
    )
    return Dataset(np.asarray(images), labels, classes)
