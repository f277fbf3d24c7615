"""Convolution by its definition, and what XLA makes of our conv_impls of it."""

import re
from collections.abc import Callable

import jax
import numpy as np

CONV_IMPLS = ("xla", "matmul")
NONE = ((0, 0), (0, 0))
ONE = ((1, 1), (1, 1))

named = dict(ids=lambda case: case[0])


def meeting_pixels(x, window, stride, padding):
    """Yields (output row, output column, padded window of x) in row-major order."""
    (top, bottom), (left, right) = padding
    rows = (x.shape[1] + top + bottom - window[0]) // stride + 1
    columns = (x.shape[2] + left + right - window[1]) // stride + 1
    for row, column in np.ndindex(rows, columns):
        yield (
            row,
            column,
            np.s_[
                :,
                row * stride : row * stride + window[0],
                column * stride : column * stride + window[1],
            ],
        )


def numpy_conv(x, kernel, stride, padding, dy=None):
    """y, or with its gradient dy (dx, dkernel), by the definition, in float64."""
    x, kernel = np.float64(x), np.float64(kernel)
    padded = np.pad(x, ((0, 0), *padding, (0, 0)))
    windows = list(meeting_pixels(x, kernel.shape, stride, padding))
    if dy is None:
        rows, columns, _ = windows[-1]
        y = np.zeros((len(x), rows + 1, columns + 1, kernel.shape[-1]))
        for row, column, window in windows:
            y[:, row, column] = np.tensordot(padded[window], kernel, 3)
        return y
    dx, dkernel = np.zeros_like(padded), np.zeros_like(kernel)
    for row, column, window in windows:
        gradient = np.float64(dy[:, row, column])
        dx[window] += np.tensordot(gradient, kernel, ((1,), (3,)))
        dkernel += np.tensordot(padded[window], gradient, ((0,), (0,)))
    (top, _), (left, _) = padding
    return dx[:, top:, left:][:, : x.shape[1], : x.shape[2]], dkernel


def with_gradients(function: Callable) -> Callable:
    """(arguments, dy) -> (y, gradients of all arguments), jitted."""

    def run(arguments, dy):
        y, pull = jax.vjp(function, *arguments)
        return y, pull(dy.astype(y.dtype))

    return jax.jit(run)


def compile_for(function: Callable, arguments, dy):
    return with_gradients(function).lower(arguments, dy).compile()


def conv_inputs(x_shape, kernel_shape, stride, padding):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(x_shape, np.float32)
    *window, features = kernel_shape
    kernel = rng.standard_normal((*window, x_shape[-1], features), np.float32)
    kernel /= np.sqrt(kernel[..., 0].size)
    y = numpy_conv(x, kernel, stride, padding)
    return x, kernel, y, rng.standard_normal(y.shape, np.float32)


def assert_close(actual, expected, tolerance):
    """Compares with an error relative to the largest value."""
    assert actual.shape == expected.shape
    scale = np.abs(expected).max()
    error = np.abs(np.float64(actual) - expected).max() / scale
    assert error < tolerance


# The rule for XLA:CPU: no instruction of the optimised program, inside fusions or
# outside, is one of these. Matrix products, loops over elements and copies remain.
SLOW = {"convolution", "select-and-scatter", "scatter", "reduce-window", "custom-call"}


def slow_instructions(compiled: jax.stages.Compiled) -> list[str]:
    """Lists the instructions of a compiled program that the rule forbids."""
    program = compiled.as_text()
    assert program is not None
    opcodes = re.findall(r"^\s*(?:ROOT )?%\S+ = .*? ([a-z][\w-]*)\(", program, re.M)
    assert "parameter" in opcodes
    return [opcode for opcode in opcodes if opcode in SLOW]
