"""Convolutions and max-pools against float64 numpy, and what XLA makes of them."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from configs import cnn, resnet
from signjax import build
from signjax.models.convolution import conv2d, conv_max_pool, max_pool, same_padding
from signjax.models.layers import Conv

FORMULATIONS = ("xla", "matmul")
NONE = ((0, 0), (0, 0))
ONE = ((1, 1), (1, 1))

# Every kind of convolution in ResNet-50 (any padding of its max-pool, either place of
# the stride) and in the small CNN, with fewer channels: name, [B, H, W, C], kernel
# [kh, kw, K], stride, padding.
CONVOLUTIONS = [
    ("stem", (2, 64, 64, 3), (7, 7, 8), 2, ((3, 3), (3, 3))),
    *[(f"1x1 on {n}", (2, n, n, 32), (1, 1, 8), 1, NONE) for n in (16, 15, 2)],
    *[(f"1x1/2 on {n}", (2, n, n, 32), (1, 1, 8), 2, NONE) for n in (16, 15, 4)],
    *[(f"3x3 on {n}", (2, n, n, 32), (3, 3, 8), 1, ONE) for n in (16, 15, 4, 2, 1)],
    # As many pixels as a batch of the step has there, or the formulation is another.
    ("3x3 on 15, batch", (3, 15, 15, 32), (3, 3, 8), 1, ONE),
    ("3x3 on 4, batch", (32, 4, 4, 32), (3, 3, 8), 1, ONE),
    *[(f"3x3/2 on {n}", (2, n, n, 32), (3, 3, 8), 2, ONE) for n in (16, 15, 4)],
    ("first of the CNN", (2, 64, 64, 3), (4, 4, 8), 1, ((1, 2), (1, 2))),
    ("second of the CNN", (2, 8, 8, 8), (2, 2, 16), 1, ((0, 1), (0, 1))),
    ("not square", (2, 9, 6, 32), (3, 2, 8), 2, ((2, 0), (0, 1))),
    ("wide padding", (2, 5, 4, 32), (3, 3, 8), 1, ((3, 0), (0, 4))),
    ("wide padding, batch", (26, 5, 4, 32), (3, 3, 8), 1, ((3, 0), (0, 4))),
]
MAX_POOLS = [
    ("ResNet", (2, 32, 32, 3), 3, 2, ONE),
    ("ResNet, valid", (2, 32, 32, 3), 3, 2, NONE),
    ("first of the CNN", (2, 64, 64, 3), 8, 8, NONE),
    ("second of the CNN", (2, 8, 8, 3), 4, 4, NONE),
    ("cut off", (2, 9, 11, 3), 4, 3, ((1, 0), (0, 2))),
    ("gaps", (2, 9, 8, 3), 2, 3, NONE),
]
# Name, [B, H, W, C], kernel [kh, kw, K], padding, windows.
POOLED_CONVOLUTIONS = [
    ("first of the CNN", (2, 64, 64, 3), (4, 4, 8), ((1, 2), (1, 2)), (8, 8)),
    ("second of the CNN", (2, 8, 8, 8), (2, 2, 16), ((0, 1), (0, 1)), (4, 4)),
    ("not square", (3, 5, 9, 2), (3, 2, 3), ((0, 3), (2, 0)), (2, 5)),
    ("no pool", (2, 4, 3, 2), (2, 2, 3), NONE, (1, 1)),
]
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


def numpy_max_pool(x, window, stride, padding, dy=None):
    """y, or with its gradient dy dx; the first of equal pixels takes it."""
    padded = np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=-np.inf)
    dx, y = np.zeros(padded.shape), {}
    for row, column, where in meeting_pixels(x, (window, window), stride, padding):
        seen = padded[where].reshape(len(x), -1, x.shape[-1])
        y[row, column] = seen.max(1)
        if dy is None:
            continue
        flat = np.zeros(seen.shape)
        places = seen.argmax(1)[:, None]  # argmax takes the first
        np.put_along_axis(flat, places, dy[:, row, column][:, None], 1)
        dx[where] += flat.reshape(padded[where].shape)
    (top, _), (left, _) = padding
    if dy is not None:
        return dx[:, top:, left:][:, : x.shape[1], : x.shape[2]]
    rows, columns = (max(n) + 1 for n in zip(*y, strict=True))
    return np.stack(list(y.values()), 1).reshape(len(x), rows, columns, -1)


def numpy_conv_max_pool(x, kernel, padding, window, dy=None):
    """y, or with its gradient dy (dx, dkernel); the first of equals takes it."""
    y = numpy_conv(x, kernel, 1, padding)
    shape = len(y), y.shape[1] // window[0], y.shape[2] // window[1], y.shape[3]
    split = (*shape[:2], window[0], shape[2], window[1], shape[3])
    seen = y.reshape(split).transpose(0, 1, 3, 5, 2, 4).reshape(*shape, -1)
    if dy is None:
        return seen.max(-1)
    spread = np.zeros(seen.shape)
    np.put_along_axis(spread, seen.argmax(-1)[..., None], dy[..., None], -1)
    spread = spread.reshape(*shape, *window).transpose(0, 1, 4, 2, 5, 3)
    return numpy_conv(x, kernel, 1, padding, spread.reshape(y.shape))


def make_conv(formulation: str, stride: int, padding) -> Callable:
    return lambda x, kernel: conv2d(
        x,
        kernel,
        strides=(stride, stride),
        padding=padding,
        formulation=formulation,
    )


def make_pool(formulation: str, window: int, stride: int, padding) -> Callable:
    return lambda x: max_pool(
        x,
        window=(window, window),
        strides=(stride, stride),
        padding=padding,
        formulation=formulation,
    )


def make_pooled(formulation: str, padding, window) -> Callable:
    return lambda x, kernel: conv_max_pool(
        x, kernel, padding=padding, window=window, formulation=formulation
    )


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


@pytest.mark.parametrize("formulation", FORMULATIONS)
@pytest.mark.parametrize("case", CONVOLUTIONS, **named)
def test_conv_and_both_gradients_match_float64(case, formulation):
    _, x_shape, kernel_shape, stride, padding = case
    x, kernel, y, dy = conv_inputs(x_shape, kernel_shape, stride, padding)
    run = compile_for(make_conv(formulation, stride, padding), (x, kernel), dy)
    actual, (dx, dkernel) = run((x, kernel), dy)
    expected_dx, expected_dkernel = numpy_conv(x, kernel, stride, padding, dy)
    assert_close(actual, y, 2e-6)
    assert_close(dx, expected_dx, 2e-6)
    assert_close(dkernel, expected_dkernel, 2e-6)
    if formulation == "matmul":
        assert slow_instructions(run) == []


@pytest.mark.parametrize("case", [CONVOLUTIONS[i] for i in (0, 9)], **named)
def test_conv_in_bfloat16_is_as_exact_as_its_inputs(case):
    _, x_shape, kernel_shape, stride, padding = case
    x, kernel, y, dy = conv_inputs(x_shape, kernel_shape, stride, padding)
    run = with_gradients(make_conv("matmul", stride, padding))
    arguments = jnp.bfloat16(x), jnp.bfloat16(kernel)
    actual, (dx, dkernel) = run(arguments, dy)
    assert {a.dtype for a in (actual, dx, dkernel)} == {jnp.dtype(jnp.bfloat16)}
    expected_dx, expected_dkernel = numpy_conv(x, kernel, stride, padding, dy)
    for got, expected in zip(
        (actual, dx, dkernel), (y, expected_dx, expected_dkernel), strict=True
    ):
        assert_close(got, expected, 2**-7)


@pytest.mark.parametrize("formulation", FORMULATIONS)
@pytest.mark.parametrize("case", MAX_POOLS, **named)
def test_max_pool_gives_a_tie_to_the_first_pixel(case, formulation):
    _, shape, window, stride, padding = case
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 2, shape).astype(np.float32)  # ties in nearly all windows
    y = numpy_max_pool(x, window, stride, padding)
    dy = rng.integers(1, 100, y.shape).astype(np.float32)
    run = compile_for(make_pool(formulation, window, stride, padding), (x,), dy)
    actual, (dx,) = run((x,), dy)
    np.testing.assert_array_equal(actual, y)
    np.testing.assert_array_equal(dx, numpy_max_pool(x, window, stride, padding, dy))
    if formulation == "matmul":
        assert slow_instructions(run) == []


def test_max_pool_keeps_bfloat16():
    x = jnp.arange(32, dtype=jnp.bfloat16).reshape(1, 4, 4, 2)
    run = with_gradients(make_pool("matmul", 3, 2, ONE))
    y, (dx,) = run((x,), jnp.ones((1, 2, 2, 2)))
    assert y.dtype == dx.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.float32(y[0, ..., 0]), [[10, 14], [26, 30]])


@pytest.mark.parametrize("formulation", FORMULATIONS)
@pytest.mark.parametrize("case", POOLED_CONVOLUTIONS, **named)
def test_conv_and_max_pool_in_one_are_exact_and_give_a_tie_to_the_first(
    case, formulation
):
    _, x_shape, kernel_shape, padding, window = case
    rng = np.random.default_rng(0)
    # Small integers: float32 is exact, and many windows have several largest values.
    x = rng.integers(-1, 2, x_shape).astype(np.float32)
    x[0] = 1  # all of an image's windows but those at its border tie throughout
    kernel = rng.integers(-1, 2, (*kernel_shape[:2], x_shape[-1], kernel_shape[-1]))
    arguments = x, kernel.astype(np.float32)
    y = numpy_conv_max_pool(*arguments, padding, window)
    dy = rng.integers(1, 100, y.shape).astype(np.float32)
    run = compile_for(make_pooled(formulation, padding, window), arguments, dy)
    actual, gradients = run(arguments, dy)
    np.testing.assert_array_equal(actual, y)
    expected = numpy_conv_max_pool(*arguments, padding, window, dy)
    for found, gradient in zip(gradients, expected, strict=True):
        np.testing.assert_array_equal(found, gradient)
    if formulation == "matmul":
        assert slow_instructions(run) == []


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_conv_and_max_pool_in_one_keep_bfloat16(formulation):
    x = jnp.arange(16, dtype=jnp.bfloat16).reshape(1, 4, 4, 1)
    run = with_gradients(make_pooled(formulation, NONE, (2, 2)))
    y, gradients = run((x, jnp.full((1, 1, 1, 2), 2, x.dtype)), jnp.ones((1, 2, 2, 2)))
    assert {a.dtype for a in (y, *gradients)} == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_array_equal(np.float32(y[0, ..., 1]), [[10, 14], [26, 30]])


def test_max_pool_windows_divide_what_they_pool():
    x, kernel = jnp.ones((1, 9, 8, 2)), jnp.ones((2, 1, 2, 3))
    for window in ((3, 4), (4, 3)):
        with pytest.raises(ValueError, match=r"do not divide \(8, 8\) pixels"):
            make_pooled("matmul", NONE, window)(x, kernel)


def test_a_pooled_layer_has_no_other_strides():
    layer = Conv(8, (2, 2), strides=(2, 2), pool=(2, 2))
    with pytest.raises(ValueError, match="strides of 1"):
        jax.eval_shape(layer.init, jax.random.key(0), jnp.ones((1, 8, 8, 3)))


# From tf.nn's documentation of SAME: more after than before where the sum is odd.
@pytest.mark.parametrize(
    ("size", "window", "stride", "expected"),
    [
        (64, 4, 1, (1, 2)),
        (8, 2, 1, (0, 1)),
        (64, 8, 8, (0, 0)),
        (16, 3, 2, (0, 1)),
        (15, 3, 2, (1, 1)),
        (5, 1, 2, (0, 0)),
    ],
)
def test_same_padding_is_tensorflows(size, window, stride, expected):
    assert same_padding(size, window, stride) == expected


def test_the_rule_finds_what_xla_does_by_itself():
    x, kernel = jnp.ones((2, 2, 2, 32)), jnp.ones((3, 3, 32, 32))
    run = compile_for(make_conv("xla", 1, ONE), (x, kernel), x)
    assert slow_instructions(run) == ["convolution"] * 3
    x = jnp.ones((2, 8, 8, 3))
    run = compile_for(make_pool("xla", 3, 2, ONE), (x,), x[:, ::2, ::2])
    assert {"reduce-window", "scatter"} <= {*slow_instructions(run)}


@pytest.mark.parametrize("case", [CONVOLUTIONS[i] for i in (0, 9, 14)], **named)
def test_a_batch_on_two_devices_gives_the_same(case):
    _, x_shape, kernel_shape, stride, padding = case
    x, kernel, *_ = conv_inputs(x_shape, kernel_shape, stride, padding)
    conv, pool = make_conv("matmul", stride, padding), make_pool("matmul", 3, 2, ONE)
    run = with_gradients(lambda x, kernel: jnp.sum(pool(conv(x, kernel)) ** 2))
    expected = run((x, kernel), jnp.ones(()))
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    shard, copy = (
        NamedSharding(mesh, spec) for spec in (PartitionSpec("data"), PartitionSpec())
    )
    arguments = jax.device_put(x, shard), jax.device_put(kernel, copy)
    actual = run(arguments, jnp.ones(()))
    jax.tree.map(lambda a, e: assert_close(a, np.asarray(e), 2e-6), actual, expected)
    _, (dx, _) = actual
    assert dx.sharding.is_equivalent_to(shard, 4)


def test_conv_and_max_pool_of_a_batch_on_two_devices_give_the_same():
    _, x_shape, kernel_shape, padding, window = POOLED_CONVOLUTIONS[1]
    x, kernel, *_ = conv_inputs(x_shape, kernel_shape, 1, padding)
    dy = np.random.default_rng(1).standard_normal((2, 2, 2, 16), np.float32)
    run = with_gradients(make_pooled("matmul", padding, window))
    expected = run((x, kernel), dy)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    shard, copy = (
        NamedSharding(mesh, spec) for spec in (PartitionSpec("data"), PartitionSpec())
    )
    arguments = jax.device_put(x, shard), jax.device_put(kernel, copy)
    compiled = run.lower(arguments, jax.device_put(dy, shard)).compile()
    actual = compiled(arguments, jax.device_put(dy, shard))
    jax.tree.map(lambda a, e: assert_close(a, np.asarray(e), 2e-6), actual, expected)
    # Each device works on its images; only the kernel's gradient is summed.
    program = compiled.as_text()
    assert program is not None
    communication = re.findall(r" (all-\S+|collective-\S+)\(", program)
    assert communication == ["all-reduce"]


def compile_step(config, **changes):
    """Compiles the train step of a config as training does, but for the changes."""
    network = build.make_network(config, 6, jax.local_devices()[:1])
    network = replace(network, model=network.model.clone(**changes))
    recipe = build.make_recipe(config, network, 1080)
    jitted: Any = recipe.train_step
    return jitted.lower(
        build.abstract_state(config, network, recipe.optimizer),
        jax.ShapeDtypeStruct((1080, 64, 64, 3), np.uint8),
        jax.ShapeDtypeStruct((1080,), np.int32),
        jax.ShapeDtypeStruct((recipe.batch_size,), np.int32),
        recipe.key,
    ).compile()


def test_the_whole_step_of_the_cnn_obeys_the_rule():
    assert slow_instructions(compile_step(cnn.get_config())) == []


# XLA's convolutions would be fast on the CPU where they are float32, NHWC, of an
# unreversed window and outside of loops. The rule is simpler: there are none.
@pytest.mark.slow
def test_the_whole_step_of_the_resnet_obeys_the_rule():
    assert slow_instructions(compile_step(resnet.get_config())) == []


@pytest.mark.slow
def test_the_whole_step_of_a_plain_resnet_does_not():
    # A block of each stage has all kinds of its convolutions and compiles sooner.
    plain = compile_step(
        resnet.get_config(), formulation="xla", stage_sizes=(1, 1, 1, 1)
    )
    assert slow_instructions(plain).count("convolution") > 20
