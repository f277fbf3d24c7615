"""Convolution in the conv_impl that a backend runs fastest; pooling.py has pools.

Every function takes NHWC activations and HWIO kernels and gives the same result, up
to rounding, in each conv_impl; parameters never depend on the choice:

- "xla" leaves the operation to XLA, right for GPU and TPU;
- "matmul" is for XLA:CPU, where the gradients of convolutions and max-pools fall
  back to naive loops: forward and both gradients are matrix products and sums, or
  loops over elements that XLA vectorises.
"""

from collections.abc import Callable, Sequence
from functools import partial, reduce
from operator import add
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

ConvImpl = Literal["xla", "matmul"]
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]
Convolution = Callable[[Array, Array, Pair, Padding], Array]
Arguments = tuple[Array, Array]
Backward = Callable[[Pair, Padding, Arguments, Array], Arguments]
Grid = Sequence[Sequence[Array]]


def same_padding(size: int, window: int, stride: int) -> Pair:
    """Returns TensorFlow's SAME padding (before, after) along one axis, in pixels."""
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


@partial(jax.jit, static_argnames=("strides", "padding", "conv_impl"))
def conv2d(
    x: Array,
    kernel: Array,
    *,
    strides: Pair,
    padding: Padding,
    conv_impl: ConvImpl,
) -> Array:
    """Correlates images with a kernel, which deep learning calls convolution.

    Args:
      x: float [B, H, W, C].
      kernel: float [kh, kw, C, K] of x's dtype.
      strides: pixels, along height and width.
      padding: zeros before and after, along height and width.
      conv_impl: "xla" or "matmul", see the module.

    Returns:
      float [B, OH, OW, K] of x's dtype, OH = (H + sum(padding[0]) - kh) // stride + 1.
    """
    if conv_impl == "xla":
        if strides != (1, 1):
            # libtpu 0.0.42 overflows its stack for a TPU v6e where the gradient of x is
            # fused with what comes after it.
            x = lax.optimization_barrier(x)
        return lax.conv_general_dilated(
            x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    conv = _fastest_products(x, kernel, strides, padding)
    # bfloat16 would be rounded after every partial product.
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    y = conv(x.astype(dtype), kernel.astype(dtype), strides, padding)
    return y.astype(x.dtype)


def _fastest_products(
    x: Array, kernel: Array, strides: Pair, padding: Padding
) -> Convolution:
    """Returns the function that was measured fastest for arrays of these shapes."""
    kh, kw, channels, _ = kernel.shape
    batch, height, width, _ = x.shape
    # For few images a product takes as long as its kernel takes from memory, which one
    # large product reads faster than nine small ones.
    if channels < 32 or (batch <= 4 and batch * height * width <= 1024):
        return patches_conv
    # Transforming the kernel costs the same however few pixels it then meets.
    large = min(height, width) > 2 and batch * height * width >= 512
    if (kh, kw) == (3, 3) and strides == (1, 1) and large:
        return _winograd_conv
    return _taps_conv


def output_size(x: Array, kernel: Array, strides: Pair, padding: Padding) -> Pair:
    """Returns the height and width of a convolution's result."""
    height, width = (
        (size + sum(pad) - window) // stride + 1
        for size, window, stride, pad in zip(
            x.shape[1:3], kernel.shape[:2], strides, padding, strict=True
        )
    )
    return height, width


def _derive(conv: Convolution, backward: Backward | None = None) -> Convolution:
    """Gives a convolution a backward pass that needs nothing but its arguments.

    The copies of x that are multiplied are several times x's size: making them again
    costs less than keeping them. Without `backward` JAX derives the gradients.
    """

    def forward(*args: Any) -> tuple[Array, Arguments]:
        return conv(*args), args[:2]

    def recompute(
        strides: Pair, padding: Padding, saved: Arguments, dy: Array
    ) -> Arguments:
        _, pull = jax.vjp(lambda x, kernel: conv(x, kernel, strides, padding), *saved)
        return pull(dy)

    derived = jax.custom_vjp(conv, nondiff_argnums=(2, 3))
    derived.defvjp(forward, backward or recompute)
    return derived


@_derive
def _taps_conv(x: Array, kernel: Array, strides: Pair, padding: Padding) -> Array:
    """Adds one product for each kernel position, with the pixels that it meets.

    No copy of x is larger than x, and padding is never multiplied: of a padded 3x3
    on a 2x2 map 16 products in 36 remain.
    """
    height, width = output_size(x, kernel, strides, padding)
    y = jnp.zeros((x.shape[0], height, width, kernel.shape[-1]), x.dtype)
    for i, j in np.ndindex(*kernel.shape[:2]):
        rows = _meeting(i, x.shape[1], height, strides[0], padding[0][0])
        columns = _meeting(j, x.shape[2], width, strides[1], padding[1][0])
        if rows is None or columns is None:
            continue
        (top, bottom, y_rows), (left, right, y_columns) = rows, columns
        term = _dot(x[:, y_rows, y_columns], kernel[i, j])
        y += jnp.pad(term, ((0, 0), (top, bottom), (left, right), (0, 0)))
    return y


def _meeting(
    tap: int, size: int, outputs: int, stride: int, before: int
) -> tuple[int, int, slice] | None:
    """Finds where one kernel position meets pixels, along one axis.

    Returns:
      how many outputs before and after see only padding there, and the pixels that
      the others see; None where no output sees a pixel.
    """
    first = max(0, -((tap - before) // stride))
    last = min(outputs - 1, (size - 1 + before - tap) // stride)
    if last < first:
        return None
    start, stop = (output * stride + tap - before for output in (first, last))
    return first, outputs - 1 - last, slice(start, stop + 1, stride)


def _dot(x: Array, matrix: Array) -> Array:
    """Multiplies the last axis of [..., C] by [C, K], as one flat product."""
    flat = x.reshape(-1, x.shape[-1]) @ matrix
    return flat.reshape(*x.shape[:-1], -1)


@_derive
def patches_conv(x: Array, kernel: Array, strides: Pair, padding: Padding) -> Array:
    """Gathers the pixels under the kernel for each output, then makes one product."""
    height, width = output_size(x, kernel, strides, padding)
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    patches = [
        x[
            :,
            i : i + (height - 1) * strides[0] + 1 : strides[0],
            j : j + (width - 1) * strides[1] + 1 : strides[1],
        ]
        for i, j in np.ndindex(*kernel.shape[:2])
    ]
    matrix = kernel.reshape(-1, kernel.shape[-1])
    return _dot(jnp.concatenate(patches, axis=-1), matrix)


# Winograd's F(2x2, 3x3) (Lavin and Gray, arXiv:1509.09308): a 3x3 convolution takes
# 16 products for each 2x2 outputs in place of 36.
_TILE_TRANSFORM = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_KERNEL_TRANSFORM = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
_OUTPUT_TRANSFORM = ((1, 1, 1, 0), (0, 1, -1, -1))


def _winograd_backward(
    strides: Pair, padding: Padding, saved: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
    del strides
    x, kernel = saved
    transformed, pull_kernel = jax.vjp(partial(_transform, _KERNEL_TRANSFORM), kernel)
    _, pull = jax.vjp(lambda u: _winograd(x, u, padding), transformed)
    (dkernel,) = pull_kernel(*pull(dy))
    # dx is the convolution of dy with the kernel turned by 180 degrees, which swaps
    # the first and last rows and columns of its transform.
    order = (3, 1, 2, 0)
    turned = [[transformed[i][j].T for j in order] for i in order]
    (top, bottom), (left, right) = padding
    dx = _winograd(dy, turned, ((2 - top, 2 - bottom), (2 - left, 2 - right)))
    return dx, dkernel


def _winograd_forward(
    x: Array, kernel: Array, strides: Pair, padding: Padding
) -> Array:
    """Convolves with a 3x3 kernel at stride 1."""
    del strides
    return _winograd(x, _transform(_KERNEL_TRANSFORM, kernel), padding)


_winograd_conv = _derive(_winograd_forward, _winograd_backward)


def _winograd(x: Array, kernel: Grid, padding: Padding) -> Array:
    """Convolves with a transformed kernel, a 4x4 grid of [C, K]."""
    batch, *size, _ = x.shape
    height, width = (n + sum(pad) - 2 for n, pad in zip(size, padding, strict=True))
    rows, columns = -(-height // 2), -(-width // 2)  # of tiles, 2x2 outputs each
    # One product batched over the 16 took 1.3 to 2.1 times as long in all (jax 0.10.2).
    products = [
        [_dot(tile, u) for tile, u in zip(tile_row, u_row, strict=True)]
        for tile_row, u_row in zip(
            _transform(_TILE_TRANSFORM, _tiles(x, rows, columns, padding)),
            kernel,
            strict=True,
        )
    ]
    outputs = _transform(_OUTPUT_TRANSFORM, products)
    y = jnp.stack([jnp.stack(row, axis=3) for row in outputs], axis=2)
    return y.reshape(batch, 2 * rows, 2 * columns, -1)[:, :height, :width]


def _tiles(x: Array, rows: int, columns: int, padding: Padding) -> Grid:
    """Cuts x into overlapping 4x4 tiles: a 4x4 grid of [B, rows, columns, C]."""
    (top, _), (left, _) = padding
    height, width = 2 * rows + 2, 2 * columns + 2
    bottom, right = height - x.shape[1] - top, width - x.shape[2] - left
    margins = ((0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0))
    x = lax.pad(x, jnp.zeros((), x.dtype), margins)
    return [
        [x[:, i : i + 2 * rows : 2, j : j + 2 * columns : 2] for j in range(4)]
        for i in range(4)
    ]


def _transform(
    matrix: Sequence[Sequence[float]], grid: Grid | Array
) -> list[list[Array]]:
    """Returns matrix @ grid @ matrix.T, where grid's elements are arrays."""
    columns = [_combine(matrix, column) for column in zip(*grid, strict=True)]
    return [_combine(matrix, row) for row in zip(*columns, strict=True)]


def _combine(matrix: Sequence[Sequence[float]], blocks: Sequence[Array]) -> list[Array]:
    """Returns matrix @ blocks without the products with zero."""
    return [
        reduce(add, (c * block for c, block in zip(row, blocks, strict=True) if c))
        for row in matrix
    ]
