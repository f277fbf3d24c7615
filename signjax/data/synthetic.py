"""Synthetic hands as data: splits of their own, or images beside others."""

import jax
import jax.numpy as jnp
import numpy as np

from signjax.data.dataset import Dataset, Splits
from signjax.errors import InputError
from signjax.synthetic.render import render_hands


def synthetic_splits(
    *,
    seed: int,
    train_size: int,
    test_size: int,
    classes: int,
    image_size: int,
    pose_jitter: float,
) -> Splits:
    """A training and a test set of synthetic hands, each image of its own.

    train_size, test_size: images, of which each class has its share, give or take one.
    classes: the first so many digits, 6 (as in SIGNS) or 10. image_size: pixels, 32 or
    more, as in less no digit can be told. pose_jitter: as for `render_hands`. The same
    arguments give the same bytes on the same kind of device.

    Raises InputError for a split with fewer images than classes.
    """
    for name, size in (("train", train_size), ("test", test_size)):
        if size < classes:
            raise InputError(
                f"config.data.synthetic_{name} is {size}, too few for {classes} "
                f"classes: give {classes} or more"
            )
    names = tuple(map(str, range(classes)))

    def render(key: jax.Array, count: int) -> Dataset:
        order, rendering = jax.random.split(key)
        labels = jax.random.permutation(order, jnp.arange(count) % classes)
        images = render_hands(
            rendering, labels, size=image_size, pose_jitter=pose_jitter
        )
        return Dataset(np.asarray(images), np.asarray(labels, np.int32), names)

    train, test = jax.random.split(jax.random.key(seed))
    return Splits(
        render(train, train_size),
        render(test, test_size),
        source="synthetic",
        origin=f"synthetic hands, seed {seed}",
    )


def render_classes(
    classes: tuple[str, ...],
    *,
    count: int,
    seed: int,
    image_size: int,
    pose_jitter: float,
) -> Dataset:
    """`count` synthetic hands of the digits that `classes` names, in turn."""
    labels = np.arange(count, dtype=np.int32) % len(classes)
    digits = np.array([int(name) for name in classes])[labels]
    # Neither the key of weights and steps nor that of source synthetic's images.
    key = jax.random.fold_in(jax.random.key(seed), 2)
    images = render_hands(key, digits, size=image_size, pose_jitter=pose_jitter)
    return Dataset(np.asarray(images), labels, classes)
