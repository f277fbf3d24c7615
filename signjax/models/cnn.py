"""The small CNN: two convolutions, two wide max-pools, 1,310 parameters at 64 x 64."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

from signjax.ops.convolution import ConvImpl, same_padding
from signjax.ops.layers import Conv, relu


class CNN(nn.Module):
    """conv 8 4x4, ReLU, max-pool 8; conv 16 2x2, ReLU, max-pool 4; dense.

    Everything is padded as TensorFlow's 'same', as in the Keras network that it
    reproduces. It has no BatchNorm, so `train` changes nothing; the keyword is there
    because all networks are called alike.
    """

    num_classes: int
    kernel_init: Initializer = nn.initializers.glorot_uniform()
    conv_impl: ConvImpl = "xla"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """images: float [B, H, W, 3], H and W multiples of 32 for the pools.

        Returns float32 logits [B, num_classes].
        """
        del train
        x = self._conv_pool_relu(images, 8, kernel=4, pool=8, name="conv1")
        x = self._conv_pool_relu(x, 16, kernel=2, pool=4, name="conv2")
        x = x.reshape(x.shape[0], -1)
        head = nn.Dense(
            self.num_classes,
            dtype=self.dtype,
            kernel_init=self.kernel_init,
            name="head",
        )
        return head(x).astype(jnp.float32)

    def _conv_pool_relu(
        self, x: jax.Array, features: int, *, kernel: int, pool: int, name: str
    ) -> jax.Array:
        height, width = (same_padding(side, kernel, 1) for side in x.shape[1:3])
        conv = Conv(
            features,
            (kernel, kernel),
            padding=(height, width),
            pool=(pool, pool),
            kernel_init=self.kernel_init,
            conv_impl=self.conv_impl,
            dtype=self.dtype,
            name=name,
        )
        # ReLU last: the largest value stays the largest, and it meets fewer.
        return relu(conv(x))
