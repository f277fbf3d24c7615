"""What training carries from step to step, and what a checkpoint holds: arrays."""

from typing import Any

import jax
import numpy as np
import optax
from flax import linen as nn
from flax import struct

from signjax.training.metrics import Metrics


class TrainState(struct.PyTreeNode):
    """step: int32 [], updates made so far. metrics: sums since the epoch began.

    batch_stats is empty for a network without BatchNorm.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: optax.OptState
    metrics: Metrics

    @property
    def variables(self) -> dict[str, Any]:
        """What the network's `apply` takes."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def trainable(params: Any, *, freeze_backbone: bool) -> Any:
    """The parameters that are trained: all, or those of the layer `head` alone."""
    return {"head": params["head"]} if freeze_backbone else params


def create_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    image_size: int,
    freeze_backbone: bool = False,
) -> TrainState:
    """A new state for square RGB images of image_size pixels; pure, so jit-able."""
    images = np.zeros((1, image_size, image_size, 3), np.float32)
    variables = model.init(key, images, train=False)
    params = variables["params"]
    return TrainState(
        step=np.int32(0),  # type: ignore[arg-type]
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(trainable(params, freeze_backbone=freeze_backbone)),
        metrics=Metrics.zero(),
    )
