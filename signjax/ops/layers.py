"""The layers that the networks are made of."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

from signjax.ops.convolution import ConvImpl, conv2d
from signjax.ops.pooling import conv_max_pool

Padding = tuple[tuple[int, int], tuple[int, int]]


def relu(x: jax.Array) -> jax.Array:
    """max(x, 0) of each value, NaN staying NaN, in value and gradient.

    XLA:CPU (jaxlib 0.10 to 0.12) makes 0 of NaN where it fuses a maximum into a sum, as
    into an average pool, so a ruined network would answer as if nothing were wrong.
    """
    return jnp.where(x <= 0, jnp.zeros([], x.dtype), x)


class Conv(nn.Module):
    """Convolution over float [B, H, W, C] images, NHWC x HWIO -> NHWC.

    Parameters: kernel float32 [kh, kw, C, features] and, with `use_bias`, bias
    float32 [features]; they do not depend on `conv_impl`, the arithmetic that
    computes the result (see `convolution.conv2d`). padding: zeros added before and
    after each of H and W. pool: height and width of windows, side by side, of each of
    which only the largest value is kept; the bias is added to that one, which is the
    same. It takes strides of 1. Computes in `dtype`.
    """

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Padding = ((0, 0), (0, 0))
    pool: tuple[int, int] | None = None
    use_bias: bool = True
    conv_impl: ConvImpl = "xla"
    dtype: Dtype = jnp.float32
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        y = self._convolve(x.astype(self.dtype), kernel.astype(self.dtype))
        if self.use_bias:
            zeros = nn.initializers.zeros_init()
            bias = self.param("bias", zeros, (self.features,), jnp.float32)
            y = y + bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return y

    def _convolve(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        if self.pool is None:
            return conv2d(
                x,
                kernel,
                strides=self.strides,
                padding=self.padding,
                conv_impl=self.conv_impl,
            )
        if self.strides != (1, 1):
            raise ValueError(f"pool takes strides of 1, not {self.strides}")
        return conv_max_pool(
            x,
            kernel,
            padding=self.padding,
            window=self.pool,
            conv_impl=self.conv_impl,
        )


# Networks build their layers through these two, so that a block states only what
# is its own (features, strides) and the network what all blocks share.
ConvFactory = Callable[..., Conv]
NormFactory = Callable[..., nn.BatchNorm]
