"""What training carries from step to step, and what a checkpoint holds: arrays."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct


class Metrics(struct.PyTreeNode):
    """Sums over the images seen so far; arrays of shape [].

    loss_sum: float32. correct, count: int32. bad_step: int32, the first step whose
    loss was not finite, or -1: kept on the device so that no step waits for it.
    """

    loss_sum: jax.Array
    correct: jax.Array
    count: jax.Array
    bad_step: jax.Array

    @classmethod
    def zero(cls) -> "Metrics":
        return cls(np.float32(0), np.int32(0), np.int32(0), np.int32(-1))  # type: ignore[arg-type]

    @classmethod
    def of_batch(
        cls, losses: Any, logits: Any, labels: Any, mask: Any, step: Any
    ) -> "Metrics":
        """Sums over one batch; images whose mask is False do not count.

        losses: float32 [B]. logits: float32 [B, C]. labels: int32 [B].
        mask: bool [B]. step: int32 [], the step these losses belong to.
        """
        loss_sum = jnp.sum(losses, where=mask)
        hits = (jnp.argmax(logits, axis=-1) == labels) & mask
        return cls(
            loss_sum=loss_sum,
            correct=jnp.sum(hits, dtype=jnp.int32),
            count=jnp.sum(mask, dtype=jnp.int32),
            bad_step=jnp.where(jnp.isfinite(loss_sum), -1, step).astype(jnp.int32),
        )

    def merge(self, other: "Metrics") -> "Metrics":
        """The sums over both; `other` is the later one."""
        return Metrics(
            loss_sum=self.loss_sum + other.loss_sum,
            correct=self.correct + other.correct,
            count=self.count + other.count,
            bad_step=jnp.where(self.bad_step >= 0, self.bad_step, other.bad_step),
        )

    def compute(self) -> dict[str, float]:
        """Mean loss (nats per image) and accuracy in [0, 1]; waits for the device."""
        count = max(int(self.count), 1)
        return {
            "loss": float(self.loss_sum) / count,
            "accuracy": int(self.correct) / count,
        }


class TrainState(struct.PyTreeNode):
    """All that changes from step to step, arrays alone, so a checkpoint holds it whole.

    step: int32 [], updates made so far. batch_stats: empty for a model without
    BatchNorm. metrics: sums since the epoch began.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: optax.OptState
    metrics: Metrics

    @property
    def variables(self) -> dict[str, Any]:
        """What the model's `apply` takes."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def trainable(params: Any, *, freeze_backbone: bool) -> Any:
    """The parameters that are trained: all, or those of the layer `head` alone."""
    return {"head": params["head"]} if freeze_backbone else params


def create_state(
    key: jax.Array,
    *,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    input_shape: tuple[int, ...],
    freeze_backbone: bool = False,
) -> TrainState:
    """A new state for inputs of that shape, such as (S, S, 3); pure, so jit-able."""
    variables = model.init(key, np.zeros((1, *input_shape), np.float32), train=False)
    params = variables["params"]
    return TrainState(
        step=np.int32(0),  # type: ignore[arg-type]
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(trainable(params, freeze_backbone=freeze_backbone)),
        metrics=Metrics.zero(),
    )
