"""BatchNorm's running statistics estimated anew, after the weights stopped moving."""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from signjax.errors import InputError
from signjax.ops.pixels import unpack_pixels

# Images a batch, or as many as the devices can share; fixed, as the result hangs on it.
_BATCH = 120


def batch_statistics(
    variables: Any,
    images: jax.Array,
    *,
    model: nn.Module,
    normalize: Callable[[jax.Array], jax.Array],
    unpack: Callable[[jax.Array], jax.Array] = unpack_pixels,
    bn_momentum: float,
) -> Any:
    """The batch_stats of one batch, images uint8 [B, H, W, 3], without history."""
    empty = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
    _, updates = model.apply(
        {"params": variables["params"], "batch_stats": empty},
        normalize(unpack(images)),
        train=True,
        mutable=["batch_stats"],
    )
    # BatchNorm has mixed its history, which is zero, with the batch.
    return jax.tree.map(lambda s: s / (1 - bn_momentum), updates["batch_stats"])


def recalibrate(
    variables: Any,
    images: Any,
    batch_stats_of: Callable[[Any, np.ndarray], Any],
    *,
    device_count: int,
) -> Any:
    """The mean of the batch_stats of all `images`, in place of the running averages.

    images: uint8 [N, H, W, 3], or what is indexed like them. batch_stats_of: see
    `batch_statistics`; it takes whole batches that split over device_count devices, so
    the images after the last are left out. The mean over the batches replaces what
    steps with ever changing weights left (Wu & Johnson, arXiv:2105.07576, "precise"
    BatchNorm). It depends on params and images alone, so doing it twice changes
    nothing. Raises InputError for fewer images than devices.
    """
    size = -(-_BATCH // device_count) * device_count
    size = min(size, len(images) // device_count * device_count)
    if not size:
        raise InputError(
            f"{len(images)} training images are too few for {device_count} devices to "
            "recalibrate BatchNorm: set config.train.recalibrate_batch_norm=False"
        )
    starts = range(0, len(images) - size + 1, size)
    batches = (batch_stats_of(variables, images[i : i + size]) for i in starts)
    total = reduce(partial(jax.tree.map, jnp.add), batches)
    return jax.tree.map(lambda leaf: leaf / len(starts), total)
