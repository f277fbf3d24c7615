"""BatchNorm's running statistics estimated anew, after the weights stopped moving."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn


def batch_statistics(
    variables: Any,
    images: jax.Array,
    *,
    model: nn.Module,
    normalize: Callable[[jax.Array], jax.Array],
    bn_momentum: float,
) -> Any:
    """The batch_stats of one batch, images uint8 [B, H, W, 3], without history."""
    empty = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
    inputs = normalize(images.astype(jnp.float32) / 255.0)
    _, updates = model.apply(
        {"params": variables["params"], "batch_stats": empty},
        inputs,
        train=True,
        mutable=["batch_stats"],
    )
    # BatchNorm has mixed its history, which is zero, with the batch.
    return jax.tree.map(lambda s: s / (1 - bn_momentum), updates["batch_stats"])


def recalibrate(
    variables: Any,
    batch_stats_of: Callable[[Any, np.ndarray], Any],
    batches: Iterable[np.ndarray],
) -> Any:
    """The mean of the batch_stats of `batches`, in place of the running averages.

    batch_stats_of: (variables, images uint8 [B, H, W, 3]) -> mean and var of each
    BatchNorm on that batch, see `batch_statistics`. The mean over the batches replaces
    what steps with ever changing weights left (Wu & Johnson, arXiv:2105.07576,
    "precise" BatchNorm). It depends on params and batches alone, so doing it twice
    changes nothing.
    """
    total, count = None, 0
    for images in batches:
        statistics = batch_stats_of(variables, images)
        total = (
            statistics if total is None else jax.tree.map(jnp.add, total, statistics)
        )
        count += 1
    return jax.tree.map(lambda leaf: leaf / count, total)
