"""Max pooling, alone and of a convolution, in the conv_impls of convolution.py."""

from collections.abc import Sequence
from functools import cache, reduce
from operator import add

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from signjax.ops.convolution import (
    ConvImpl,
    Padding,
    Pair,
    conv2d,
    output_size,
    patches_conv,
)


def max_pool(
    x: Array, window: Pair, strides: Pair, padding: Padding, *, conv_impl: ConvImpl
) -> Array:
    """Takes the largest value of each window, channel by channel.

    A window's gradient goes to one pixel: among equals the first, row by row, as in
    XLA and PyTorch.

    Args:
      x: float [B, H, W, C].
      window: height and width, pixels.
      strides: pixels, along height and width.
      padding: amounts of -inf before and after, along height and width.
      conv_impl: "xla" or "matmul", see convolution.py.

    Returns:
      float [B, OH, OW, C] of x's dtype.
    """
    if conv_impl == "xla":
        return lax.reduce_window(
            x,
            -jnp.inf,
            lax.max,
            (1, *window, 1),
            (1, *strides, 1),
            ((0, 0), *padding, (0, 0)),
        )
    # Within rows first: the first row that holds the maximum then wins a tie.
    x = _max_along(x, 2, window[1], strides[1], padding[1])
    return _max_along(x, 1, window[0], strides[0], padding[0])


def conv_max_pool(
    x: Array,
    kernel: Array,
    *,
    padding: Padding,
    window: Pair,
    conv_impl: ConvImpl,
) -> Array:
    """Convolves at stride 1, then keeps the largest value of each window.

    The windows lie side by side; gradients are those of `conv2d` and `max_pool`, one
    after the other. What grows with its argument alone (adding a bias, ReLU) may as
    well follow as stand between the two, and then meets only what was kept.

    Args:
      x: float [B, H, W, C].
      kernel: float [kh, kw, C, K] of x's dtype.
      padding: zeros before and after, along height and width.
      window: height and width, in pixels of the convolution's result, which it must
        divide.
      conv_impl: "xla" or "matmul", see convolution.py.

    Returns:
      float [B, OH / window[0], OW / window[1], K] of x's dtype.
    """
    size = output_size(x, kernel, (1, 1), padding)
    if any(n % w for n, w in zip(size, window, strict=True)):
        raise ValueError(f"max-pool windows of {window} do not divide {size} pixels")
    if conv_impl == "xla":
        y = conv2d(x, kernel, strides=(1, 1), padding=padding, conv_impl=conv_impl)
        return max_pool(
            y,
            window=window,
            strides=window,
            padding=((0, 0), (0, 0)),
            conv_impl=conv_impl,
        )
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    y = _max_of_conv(x.astype(dtype), kernel.astype(dtype), padding, window)
    return y.astype(x.dtype)


def _max_along(x: Array, axis: int, window: int, stride: int, padding: Pair) -> Array:
    """Pools one axis, height (1) or width (2), of [B, H, W, C]."""
    outputs = (x.shape[axis] + sum(padding) - window) // stride + 1
    size = (outputs - 1) * stride + window
    margins = [(0, 0, 0)] * 4
    margins[axis] = (padding[0], size - x.shape[axis] - padding[0], 0)
    x = lax.pad(x, jnp.array(-jnp.inf, x.dtype), margins)
    return _max_of_windows(x, axis, window, stride)


def _largest(x: Array, axis: int, window: int, stride: int) -> tuple[Array, Array]:
    """Returns each window's largest value, and its first place there (uint8)."""
    reach = x.shape[axis] - window + 1
    largest = lax.slice_in_dim(x, 0, reach, stride, axis)
    first = jnp.zeros(largest.shape, jnp.uint8)
    for place in range(1, window):
        candidate = lax.slice_in_dim(x, place, place + reach, stride, axis)
        first = jnp.where(candidate > largest, jnp.uint8(place), first)
        largest = jnp.maximum(largest, candidate)
    return largest, first


def _max_backward(
    axis: int, window: int, stride: int, first: Array, dy: Array
) -> tuple[Array]:
    terms = [jnp.where(first == place, dy, 0) for place in range(window)]
    return (_overlap_add(terms, axis, stride),)


_max_of_windows = jax.custom_vjp(
    lambda *args: _largest(*args)[0], nondiff_argnums=(1, 2, 3)
)
_max_of_windows.defvjp(_largest, _max_backward)


def _overlap_add(terms: Sequence[Array], axis: int, stride: int) -> Array:
    """Adds terms[tap] at index o to index o * stride + tap of the result, for all o.

    Each residue of the result's index modulo the stride is a sum of shifted terms;
    the residues are then interleaved.
    """
    outputs = terms[0].shape[axis]
    size = (outputs - 1) * stride + len(terms)
    length = -(-size // stride)
    shape = [*terms[0].shape]
    shape[axis] = length
    residues = []
    for residue in range(stride):
        total = jnp.zeros(shape, terms[0].dtype)
        for shift, term in enumerate(terms[residue::stride]):
            margins = [(0, 0)] * len(shape)
            margins[axis] = (shift, length - outputs - shift)
            total += jnp.pad(term, margins)
        residues.append(total)
    shape[axis] = length * stride
    interleaved = jnp.stack(residues, axis + 1).reshape(shape)
    return lax.slice_in_dim(interleaved, 0, size, axis=axis)


def _largest_of_conv(
    x: Array, kernel: Array, padding: Padding, window: Pair
) -> tuple[Array, Array]:
    """Returns each window's largest value, and its first place there (int32).

    A place is row * window[1] + column. The convolution's result is never in memory:
    a loop over elements, with the output channels innermost, convolves at all columns
    of a window and keeps the largest; the rows of a window are compared after that.
    """
    height, width = output_size(x, kernel, (1, 1), padding)
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    shape = (x.shape[0], height, width // window[1], kernel.shape[-1])
    taps = list(np.ndindex(*kernel.shape[:3]))
    weights = [jnp.broadcast_to(kernel[tap], shape) for tap in taps]

    @cache
    def pixels(row: int, column: int, channel: int) -> Array:
        """What the windows see at a place relative to their first outputs."""
        stop = row + height, column + width - window[1] + 1, channel + 1
        seen = lax.slice(
            x, (0, row, column, channel), (len(x), *stop), (1, 1, window[1], 1)
        )
        return jnp.broadcast_to(seen, shape)

    rows = jnp.full(shape, -jnp.inf + 0j)
    for column in range(window[1]):
        terms = (
            pixels(i, column + j, c) * weight
            for (i, j, c), weight in zip(taps, weights, strict=True)
        )
        rows = _keep_larger(rows, reduce(add, terms), column)
    rows = rows.reshape(len(x), -1, window[0], *shape[2:])

    # A loop of XLA's, because what is before it would otherwise be computed in each
    # of the comparisons.
    def compare(row: Array, best: Array) -> Array:
        of_row = lax.dynamic_index_in_dim(rows, row, 2, keepdims=False)
        place = of_row.imag + row.astype(of_row.imag.dtype) * window[1]
        return _keep_larger(best, of_row.real, place)

    best = jnp.full_like(rows[:, :, 0], -jnp.inf)
    best = lax.fori_loop(0, window[0], compare, best)
    return best.real, best.imag.astype(jnp.int32)


def _keep_larger(best: Array, value: Array, place: Array | int) -> Array:
    """Returns the larger of values with its place, as complex value + i place.

    XLA:CPU gives each loop one result: with two arrays, all that they come from would
    be computed twice.
    """
    place = jnp.where(value > best.real, place, best.imag)
    return lax.complex(jnp.maximum(value, best.real), place)


def _max_of_conv_forward(
    x: Array, kernel: Array, padding: Padding, window: Pair
) -> tuple[Array, tuple[Array, Array, Array]]:
    y, place = _largest_of_conv(x, kernel, padding, window)
    return y, (x, kernel, place)


def _max_of_conv_backward(
    padding: Padding, window: Pair, saved: tuple[Array, Array, Array], dy: Array
) -> tuple[Array, Array]:
    x, kernel, place = saved
    shape = *output_size(x, kernel, (1, 1), padding), kernel.shape[-1]
    places = jnp.arange(window[0] * window[1]).reshape(1, 1, window[0], 1, window[1], 1)
    spread = jnp.where(
        place[:, :, None, :, None] == places, dy[:, :, None, :, None], 0
    ).reshape(len(x), *shape)
    _, pull = jax.vjp(lambda x: patches_conv(x, kernel, (1, 1), padding), x)
    (dx,) = pull(spread)
    return dx, _kernel_gradient(x, kernel.shape, padding, window, place, dy)


def _kernel_gradient(
    x: Array,
    shape: tuple[int, ...],
    padding: Padding,
    window: Pair,
    place: Array,
    dy: Array,
) -> Array:
    """Adds up the pixels under the kernel at the places that the maxima came from.

    They are few: the windows' share of all places.
    """
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    _, height, width, _ = dy.shape
    rows = place // window[1] + window[0] * jnp.arange(height).reshape(1, -1, 1, 1)
    columns = place % window[1] + window[1] * jnp.arange(width).reshape(1, 1, -1, 1)

    def patch(image: Array, row: Array, column: Array) -> Array:
        return lax.dynamic_slice(image, (row, column, 0), shape[:3])

    patches_of_channel = jax.vmap(patch, (None, 0, 0))
    patches_of_image = jax.vmap(patches_of_channel, (None, 0, 0))
    # Channels before windows, so that the sum below runs along memory.
    dy, rows, columns = (
        a.reshape(len(x), -1, shape[-1]).swapaxes(1, 2) for a in (dy, rows, columns)
    )
    patches = jax.vmap(patches_of_image)(x, rows, columns)
    gradient = jnp.sum(patches * dy[..., None, None, None], axis=(0, 2))
    return jnp.moveaxis(gradient, 0, -1)


_max_of_conv = jax.custom_vjp(
    lambda *args: _largest_of_conv(*args)[0], nondiff_argnums=(2, 3)
)
_max_of_conv.defvjp(_max_of_conv_forward, _max_of_conv_backward)
