"""The small CNN: two convolutions, two wide max-pools, 1,310 parameters at 64 x 64."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

from signjax.models.convolution import Formulation, max_pool, same_padding
from signjax.models.layers import Conv, Padding


class CNN(nn.Module):
    """conv 8 4x4, ReLU, max-pool 8; conv 16 2x2, ReLU, max-pool 4; dense.

    Everything is padded as TensorFlow's 'same', as in the Keras network that it
    reproduces. It has no BatchNorm, so `train` changes nothing; the keyword is there
    because all networks are called alike.
    """

    num_classes: int
    kernel_init: Initializer = nn.initializers.glorot_uniform()
    formulation: Formulation = "xla"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """images: float [B, H, W, 3]. Returns float32 logits [B, num_classes]."""
        del train
        x = self._conv_relu_pool(images, 8, kernel=4, pool=8, name="conv1")
        x = self._conv_relu_pool(x, 16, kernel=2, pool=4, name="conv2")
        x = x.reshape(x.shape[0], -1)
        head = nn.Dense(
            self.num_classes,
            dtype=self.dtype,
            kernel_init=self.kernel_init,
            name="head",
        )
        return head(x).astype(jnp.float32)

    def _conv_relu_pool(
        self, x: jax.Array, features: int, *, kernel: int, pool: int, name: str
    ) -> jax.Array:
        x = Conv(
            features,
            (kernel, kernel),
            padding=_same(x, kernel, 1),
            kernel_init=self.kernel_init,
            formulation=self.formulation,
            dtype=self.dtype,
            name=name,
        )(x)
        return max_pool(
            nn.relu(x),
            window=(pool, pool),
            strides=(pool, pool),
            padding=_same(x, pool, pool),
            formulation=self.formulation,
        )


def _same(x: jax.Array, window: int, stride: int) -> Padding:
    return (
        same_padding(x.shape[1], window, stride),
        same_padding(x.shape[2], window, stride),
    )
