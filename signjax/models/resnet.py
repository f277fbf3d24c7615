"""ResNet-50 (He et al., arXiv:1512.03385) in the variants people have weights for."""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

from signjax.ops.convolution import ConvImpl
from signjax.ops.layers import Conv, ConvFactory, NormFactory, relu
from signjax.ops.pooling import max_pool

he_normal_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "truncated_normal")


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions, each with BatchNorm, around a shortcut.

    The shortcut is the input itself, or a 1x1 convolution and BatchNorm where
    `project` says so (the first block of a stage). strides go to the first 1x1
    (v1, He et al.; Keras) or to the 3x3 (v1.5; torchvision) by `stride_on`.
    """

    features: int
    strides: tuple[int, int]
    project: bool
    stride_on: Literal["1x1", "3x3"]
    stride_padding: tuple[int, int]
    conv: ConvFactory
    norm: NormFactory
    last_scale_init: Initializer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """x: float [B, H, W, C] -> float [B, H', W', 4 * features]."""
        first, second = self.strides, (1, 1)
        if self.stride_on == "3x3":
            first, second = second, first
        y = self.conv(self.features, (1, 1), strides=first, name="conv1")(x)
        y = relu(self.norm(name="bn1")(y))
        pad = self.stride_padding if second == (2, 2) else (1, 1)
        y = self.conv(self.features, (3, 3), second, (pad, pad), name="conv2")(y)
        y = relu(self.norm(name="bn2")(y))
        y = self.conv(4 * self.features, (1, 1), name="conv3")(y)
        y = self.norm(scale_init=self.last_scale_init, name="bn3")(y)
        if self.project:
            x = self.conv(
                4 * self.features, (1, 1), strides=self.strides, name="conv_shortcut"
            )(x)
            x = self.norm(name="bn_shortcut")(x)
        return relu(x + y)


class ResNet(nn.Module):
    """Stem, four stages of bottlenecks, global average pool, dense head.

    At 64 x 64 input the last maps are 2 x 2, so the global average is the 2 x 2
    average pool of the Keras reference.

    width: channels of the stem; a stage has twice those of the one before.
    stage_sizes: blocks per stage. pool_padding: padding of the stem's 3x3/2 max-pool
    (0 is Keras' 'valid', 1 torchvision's). same_padding: pad it, and the 3x3 that
    strides, as TensorFlow's 'same' does even sizes. block_init: initialiser of the
    convolutions in blocks without projection; kernel_init of all other kernels.
    bn_momentum: weight of the old running statistic in each update.
    """

    num_classes: int
    width: int = 64
    stage_sizes: tuple[int, ...] = (3, 4, 6, 3)
    stride_on: Literal["1x1", "3x3"] = "3x3"
    pool_padding: int = 1
    same_padding: bool = False
    conv_bias: bool = False
    bn_momentum: float = 0.9
    bn_epsilon: float = 1e-5
    zero_init_last_scale: bool = True
    kernel_init: Initializer = he_normal_fan_out
    block_init: Initializer = he_normal_fan_out
    head_init: Initializer = nn.initializers.lecun_normal()
    conv_impl: ConvImpl = "xla"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """images: float [B, H, W, 3]. Returns float32 logits [B, num_classes].

        With train=True BatchNorm uses the statistics of this batch and updates the
        running ones in `batch_stats`, which must then be mutable; with train=False
        it uses the running ones.
        """
        conv = partial(
            Conv, use_bias=self.conv_bias, conv_impl=self.conv_impl, dtype=self.dtype
        )
        norm = partial(
            nn.BatchNorm,
            use_running_average=not train,
            momentum=self.bn_momentum,
            epsilon=self.bn_epsilon,
            dtype=self.dtype,
        )
        stem = {"strides": (2, 2), "padding": ((3, 3), (3, 3)), "name": "conv_stem"}
        x = conv(self.width, (7, 7), kernel_init=self.kernel_init, **stem)(images)
        x = relu(norm(name="bn_stem")(x))
        pad = (0, 1) if self.same_padding else (self.pool_padding, self.pool_padding)
        x = max_pool(x, (3, 3), (2, 2), (pad, pad), conv_impl=self.conv_impl)
        zeros, ones = nn.initializers.zeros, nn.initializers.ones
        for stage, size in enumerate(self.stage_sizes):
            for block in range(size):
                project = block == 0
                init = self.kernel_init if project else self.block_init
                x = Bottleneck(
                    features=self.width * 2**stage,
                    strides=(2, 2) if project and stage > 0 else (1, 1),
                    project=project,
                    stride_on=self.stride_on,
                    stride_padding=(0, 1) if self.same_padding else (1, 1),
                    conv=partial(conv, kernel_init=init),
                    norm=norm,
                    last_scale_init=zeros if self.zero_init_last_scale else ones,
                    name=f"stage{stage + 1}_block{block + 1}",
                )(x)
        x = jnp.mean(x, axis=(1, 2))
        head = nn.Dense(
            self.num_classes, dtype=self.dtype, kernel_init=self.head_init, name="head"
        )
        return head(x).astype(jnp.float32)
