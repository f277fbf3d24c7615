"""Max-pools, alone and of convolutions, against numpy, and what XLA makes of them."""

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from signjax.ops.layers import Conv
from signjax.ops.pooling import conv_max_pool, max_pool
from tests.helpers.conv_impls import (
    CONV_IMPLS,
    NONE,
    ONE,
    assert_close,
    compile_for,
    conv_inputs,
    meeting_pixels,
    named,
    numpy_conv,
    slow_instructions,
    with_gradients,
)

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


def make_pool(conv_impl: str, window: int, stride: int, padding) -> Callable:
    return lambda x: max_pool(
        x,
        window=(window, window),
        strides=(stride, stride),
        padding=padding,
        conv_impl=conv_impl,
    )


def make_pooled(conv_impl: str, padding, window) -> Callable:
    return lambda x, kernel: conv_max_pool(
        x, kernel, padding=padding, window=window, conv_impl=conv_impl
    )


@pytest.mark.parametrize("conv_impl", CONV_IMPLS)
@pytest.mark.parametrize("case", MAX_POOLS, **named)
def test_max_pool_gives_a_tie_to_the_first_pixel(case, conv_impl):
    _, shape, window, stride, padding = case
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 2, shape).astype(np.float32)  # ties in nearly all windows
    y = numpy_max_pool(x, window, stride, padding)
    dy = rng.integers(1, 100, y.shape).astype(np.float32)
    run = compile_for(make_pool(conv_impl, window, stride, padding), (x,), dy)
    actual, (dx,) = run((x,), dy)
    np.testing.assert_array_equal(actual, y)
    np.testing.assert_array_equal(dx, numpy_max_pool(x, window, stride, padding, dy))
    if conv_impl == "matmul":
        assert slow_instructions(run) == []


def test_max_pool_keeps_bfloat16():
    x = jnp.arange(32, dtype=jnp.bfloat16).reshape(1, 4, 4, 2)
    run = with_gradients(make_pool("matmul", 3, 2, ONE))
    y, (dx,) = run((x,), jnp.ones((1, 2, 2, 2)))
    assert y.dtype == dx.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.float32(y[0, ..., 0]), [[10, 14], [26, 30]])


@pytest.mark.parametrize("conv_impl", CONV_IMPLS)
@pytest.mark.parametrize("case", POOLED_CONVOLUTIONS, **named)
def test_conv_and_max_pool_in_one_are_exact_and_give_a_tie_to_the_first(
    case, conv_impl
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
    run = compile_for(make_pooled(conv_impl, padding, window), arguments, dy)
    actual, gradients = run(arguments, dy)
    np.testing.assert_array_equal(actual, y)
    expected = numpy_conv_max_pool(*arguments, padding, window, dy)
    for found, gradient in zip(gradients, expected, strict=True):
        np.testing.assert_array_equal(found, gradient)
    if conv_impl == "matmul":
        assert slow_instructions(run) == []


@pytest.mark.parametrize("conv_impl", CONV_IMPLS)
def test_conv_and_max_pool_in_one_keep_bfloat16(conv_impl):
    x = jnp.arange(16, dtype=jnp.bfloat16).reshape(1, 4, 4, 1)
    run = with_gradients(make_pooled(conv_impl, NONE, (2, 2)))
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


def test_the_rule_finds_what_xla_does_by_itself():
    x = jnp.ones((2, 8, 8, 3))
    run = compile_for(make_pool("xla", 3, 2, ONE), (x,), x[:, ::2, ::2])
    assert {"reduce-window", "scatter"} <= {*slow_instructions(run)}


def test_a_batch_on_two_devices_gives_the_same():
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 8), np.float32)
    pool = make_pool("matmul", 3, 2, ONE)
    run = with_gradients(lambda x: jnp.sum(pool(x) ** 2))
    expected = run((x,), jnp.ones(()))
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    shard = NamedSharding(mesh, PartitionSpec("data"))
    actual = run((jax.device_put(x, shard),), jnp.ones(()))
    jax.tree.map(lambda a, e: assert_close(a, np.asarray(e), 2e-6), actual, expected)
    _, (dx,) = actual
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
