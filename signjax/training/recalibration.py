"""BatchNorm's running statistics taken anew, after the weights have stopped moving."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from signjax.training.state import TrainState


def recalibrate(
    state: TrainState,
    batch_stats_of: Callable[[Any, np.ndarray], Any],
    batches: Iterable[np.ndarray],
) -> TrainState:
    """`state` with the statistics of `batches` in place of the running averages.

    batch_stats_of: (variables, images uint8 [B, H, W, 3]) -> mean and var of each
    BatchNorm on that batch, see `step.batch_statistics`. The mean over the batches
    replaces what steps with ever changing weights left (Wu & Johnson,
    arXiv:2105.07576, "precise" BatchNorm). It depends on params and batches alone, so
    doing it twice changes nothing.
    """
    total, count = None, 0
    for images in batches:
        statistics = batch_stats_of(state.variables, images)
        total = (
            statistics if total is None else jax.tree.map(jnp.add, total, statistics)
        )
        count += 1
    mean = jax.tree.map(lambda leaf: leaf / count, total)
    return state.replace(batch_stats=mean)
