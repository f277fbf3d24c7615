"""The operations of a .tflite network as JAX's, so that it runs where JAX does."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from signjax.errors import one_line
from signjax.hands.tflite import Graph, Operator
from signjax.ops.convolution import conv2d, same_padding


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
    strides, padding = window(operator, x.shape[1:3], kernel.shape[1:3])
    kernel = kernel.transpose(1, 2, 3, 0)
    if kernel.shape[:2] == strides == (1, 1):
        result = x @ kernel[0, 0]
    else:
        conv = partial(conv2d, strides=strides, padding=padding)
        result = lax.platform_dependent(
            x,
            kernel,
            cpu=partial(conv, conv_impl="matmul"),
            default=partial(conv, conv_impl="xla"),
        )
    return result + bias.reshape(1, 1, 1, -1)


def _depthwise_conv(operator: Operator, x: Array, kernel: Array, bias: Array) -> Array:
    """A sum over the kernel's taps, as XLA:CPU has but a slow loop for grouped ones.

    Columns and channels are one axis, so that a tap is one long shift, which LLVM
    vectorises; with strides of 2 one of the even or odd rows and columns. The barrier
    keeps XLA from computing what comes before anew for each tap.
    """
    strides, padding = window(operator, x.shape[1:3], kernel.shape[1:3])
    return _sum_of_taps(x, kernel, bias, strides, padding, operator.shape[1:3])


@partial(jax.jit, static_argnums=(3, 4, 5))  # equal layers are traced once
def _sum_of_taps(
    x: Array, kernel: Array, bias: Array, strides: Any, padding: Any, size: Any
) -> Array:
    (down, across), (height, width), channels = strides, size, x.shape[3]
    padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    phases: dict[tuple[int, int], Array] = {}
    result = jnp.tile(bias, width).reshape(1, 1, -1)
    for i, j in np.ndindex(*kernel.shape[1:3]):
        phase = (i % down, j % across)
        if phase not in phases:
            part = padded[:, phase[0] :: down, phase[1] :: across]
            part = part.reshape(*part.shape[:2], -1)
            phases[phase] = lax.optimization_barrier(part)
        rows = slice(i // down, i // down + height)
        first = j // across * channels
        columns = slice(first, first + width * channels)
        weights = jnp.tile(kernel[0, i, j], width).reshape(1, 1, -1)
        result = result + phases[phase][:, rows, columns] * weights
    return lax.optimization_barrier(result).reshape(len(x), height, width, channels)


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
) -> tuple[tuple[int, int], tuple[tuple[int, int], ...]]:
    """(strides, padding) along height and width of a window of that size.

    sides: height and width of what it moves over.
    """
    strides = (operator.options["stride_h"], operator.options["stride_w"])
    if min(*strides, *size) < 1:
        raise ValueError(f"a window of {size} with strides {strides}")
    if operator.options["padding"] == "VALID":
        return strides, ((0, 0), (0, 0))
    axes = zip(sides, size, strides, strict=True)
    return strides, tuple(same_padding(*axis) for axis in axes)


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
