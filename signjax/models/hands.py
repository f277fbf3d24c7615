"""A small classifier of hands by their landmarks: 142 features, two hidden layers."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

from signjax.ops.layers import relu


class HandClassifier(nn.Module):
    """dense, ReLU, dense, ReLU, dense. It has no BatchNorm: `train` changes nothing."""

    num_classes: int
    hidden: int = 128
    kernel_init: Initializer = nn.initializers.he_normal()
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool) -> jax.Array:
        """features: float [B, F], the last whether there is a hand, 0 or 1.

        Returns float32 logits [B, num_classes], zeros where there is none: every class
        is as likely then, so a threshold makes the model abstain.
        """
        del train
        x = features.astype(self.dtype)
        for name in ("dense1", "dense2"):
            dense = nn.Dense(
                self.hidden, dtype=self.dtype, kernel_init=self.kernel_init, name=name
            )
            x = relu(dense(x))
        head = nn.Dense(self.num_classes, dtype=self.dtype, name="head")
        return head(x).astype(jnp.float32) * features[:, -1:]
