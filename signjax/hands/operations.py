"""The operations of a .tflite network as JAX's, so that it runs where JAX does."""

from collections.abc import Callable, Mapping
from functools import partial, reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from signjax.errors import one_line
from signjax.hands.tflite import Graph, Operator
from signjax.ops.convolution import (
    Padding,
    Pair,
    conv2d,
    output_size,
    same_padding,
)


def apply(graph: Graph, params: Mapping[str, Array], images: Array) -> dict[str, Array]:
    """All that the network computes, tensor name -> value; pure, so jit-able.

    images: float32 [B, H, W, 3], H and W as in graph.input_shape. Of a jitted function
    only what it returns is kept.
    """
    tensors = {graph.input: images}
    for operator in graph.operators:
        tensors[operator.output] = _run(operator, params, tensors)
    return tensors


def require_shapes(graph: Graph, params: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError where an operation does not give its tensor's shape.

    Nothing is computed, so a hostile graph costs neither time nor memory.
    """
    if len(graph.input_shape) != 4 or graph.input_shape[0] != 1:
        raise ValueError(f"an input of shape {graph.input_shape}")
    images = jax.ShapeDtypeStruct(graph.input_shape, np.float32)
    jax.eval_shape(partial(apply, graph), params, images)


def _run(
    operator: Operator, params: Mapping[str, Array], tensors: Mapping[str, Array]
) -> Array:
    given = [tensors[x] if x in tensors else params[x] for x in operator.inputs]
    try:
        result = _OPERATIONS[operator.kind](operator, *given)
    except Exception as error:  # of shapes that differ JAX raises any of several
        raise ValueError(f"{operator.kind}: {one_line(error, 80)}") from error
    if result.shape[1:] != operator.shape[1:]:
        told = f"{operator.kind} gives {result.shape} in place of {operator.shape}"
        raise ValueError(told)
    most = {"relu": None, "relu6": 6.0}
    activation = operator.options.get("activation")
    return jnp.clip(result, 0.0, most[activation]) if activation else result


def _add(operator: Operator, x: Array, y: Array) -> Array:
    if y.ndim not in (0, x.ndim):
        y = y.reshape((1,) * (x.ndim - y.ndim) + y.shape)
    return x + y


def _concatenate(operator: Operator, *parts: Array) -> Array:
    return jnp.concatenate(parts, axis=operator.options["axis"])


def _conv(operator: Operator, x: Array, kernel: Array, bias: Array) -> Array:
    strides, padding = window(operator, x.shape[1:3], kernel.shape[:2])
    if kernel.shape[:2] == strides == (1, 1):
        result = x @ kernel[0, 0]
    else:
        result = lax.platform_dependent(
            x,
            kernel,
            cpu=partial(conv_by_rows, strides=strides, padding=padding),
            default=partial(conv2d, strides=strides, padding=padding, conv_impl="xla"),
        )
    return result + bias.reshape(1, 1, 1, -1)


def conv_by_rows(
    x: Array,
    kernel: Array,
    *,
    strides: Pair,
    padding: Padding,
) -> Array:
    """As `ops.convolution.conv2d`, for few channels: the networks' first of 3.

    As many columns as the stride become one, so that a tap of the kernel is a whole
    column. Rows under the kernel are put beside one another, and one product makes of
    each column what it gives to all the results that it meets; these are shifted and
    added. Of 5 x 5 taps 5 pieces are copied a pixel where patches would be 25.
    """
    (down, across), (rows, columns, channels, filters) = strides, kernel.shape
    height, width = output_size(x, kernel, strides, padding)
    taps = -(-columns // across)
    wide = (width + taps - 1) * across
    after = wide - x.shape[2] - padding[1][0]
    edges = ((0, 0, 0), (*padding[0], 0), (padding[1][0], after, 0), (0, 0, 0))
    x = lax.pad(x, jnp.zeros((), x.dtype), edges)
    x = x.reshape(*x.shape[:2], -1, across * channels)
    x = jnp.concatenate(
        [x[:, i : i + down * (height - 1) + 1 : down] for i in range(rows)], axis=-1
    )
    kernel = jnp.pad(kernel, ((0, 0), (0, taps * across - columns), (0, 0), (0, 0)))
    kernel = kernel.reshape(rows, taps, across * channels, filters).swapaxes(1, 2)
    products = x @ kernel.reshape(-1, taps * filters)
    return reduce(
        add,
        (
            products[:, :, j : j + width, j * filters : (j + 1) * filters]
            for j in range(taps)
        ),
    )


def _depthwise_conv(operator: Operator, x: Array, kernel: Array, bias: Array) -> Array:
    """A sum over the kernel's taps, as XLA:CPU has but a slow loop for grouped ones.

    The barriers keep XLA from computing what comes before anew for each tap.
    """
    strides, padding = window(operator, x.shape[1:3], kernel.shape[1:3])
    return _sum_of_taps(x, kernel, bias, strides, padding, operator.shape[1:3])


@partial(jax.jit, static_argnums=(3, 4, 5))  # equal layers are traced once
def _sum_of_taps(
    x: Array, kernel: Array, bias: Array, strides: Any, padding: Any, size: Any
) -> Array:
    last_row, last_column = (
        stride * (side - 1) for stride, side in zip(strides, size, strict=True)
    )
    padded = lax.optimization_barrier(jnp.pad(x, ((0, 0), *padding, (0, 0))))
    result = bias.reshape(1, 1, 1, -1)
    for i, j in np.ndindex(*kernel.shape[1:3]):
        rows = slice(i, i + last_row + 1, strides[0])
        columns = slice(j, j + last_column + 1, strides[1])
        result = result + padded[:, rows, columns] * kernel[:, i, j].reshape(
            1, 1, 1, -1
        )
    return lax.optimization_barrier(result)


def _dense(operator: Operator, x: Array, kernel: Array, bias: Array) -> Array:
    return x @ kernel.T + bias.reshape(1, -1)


def _max_pool(operator: Operator, x: Array) -> Array:
    size = (operator.options["height"], operator.options["width"])
    strides, padding = window(operator, x.shape[1:3], size)
    return lax.reduce_window(
        x,
        -jnp.inf,
        lax.max,
        (1, *size, 1),
        (1, *strides, 1),
        ((0, 0), *padding, (0, 0)),
    )


def _mean(operator: Operator, x: Array) -> Array:
    return x.mean(operator.sizes, keepdims=operator.options["keep_dims"])


def _pad(operator: Operator, x: Array) -> Array:
    pairs = np.array(operator.sizes).reshape(-1, 2)
    return jnp.pad(x, pairs.tolist())


def _prelu(operator: Operator, x: Array, slope: Array) -> Array:
    return jnp.where(x >= 0, x, x * slope[None])


def _reshape(operator: Operator, x: Array) -> Array:
    return x.reshape(len(x), *operator.shape[1:])


def _resize(operator: Operator, x: Array) -> Array:
    height, width = operator.sizes
    shape = (len(x), height, width, x.shape[3])
    return jax.image.resize(x, shape, "bilinear", antialias=False)


def window(
    operator: Operator, sides: tuple[int, ...], size: tuple[int, ...]
) -> tuple[Pair, Padding]:
    """(strides, padding) along height and width of a window of that size.

    sides: height and width of what it moves over.
    """
    strides = (operator.options["stride_h"], operator.options["stride_w"])
    if min(*strides, *size) < 1:
        raise ValueError(f"a window of {size} with strides {strides}")
    if operator.options["padding"] == "VALID":
        return strides, ((0, 0), (0, 0))
    axes = zip(sides, size, strides, strict=True)
    above, beside = (same_padding(*axis) for axis in axes)
    return strides, (above, beside)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "ADD": _add,
    "CONCATENATION": _concatenate,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise_conv,
    "FULLY_CONNECTED": _dense,
    "LOGISTIC": lambda operator, x: jax.nn.sigmoid(x),
    "MAX_POOL_2D": _max_pool,
    "MEAN": _mean,
    "PAD": _pad,
    "PRELU": _prelu,
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize,
}
