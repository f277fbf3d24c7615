"""Convolutions against float64 numpy, and what XLA makes of them and of whole steps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from configs import cnn, resnet
from signjax.experiment import make_experiment
from signjax.ops.convolution import conv2d, same_padding
from tests.helpers.conv_impls import (
    CONV_IMPLS,
    NONE,
    ONE,
    assert_close,
    compile_for,
    conv_inputs,
    named,
    numpy_conv,
    slow_instructions,
    with_gradients,
)

# Every kind of convolution in ResNet-50 (any padding of its max-pool, either place of
# the stride) and in the small CNN, with fewer channels: name, [B, H, W, C], kernel
# [kh, kw, K], stride, padding.
CONVOLUTIONS = [
    ("stem", (2, 64, 64, 3), (7, 7, 8), 2, ((3, 3), (3, 3))),
    *[(f"1x1 on {n}", (6, n, n, 32), (1, 1, 8), 1, NONE) for n in (16, 15, 2)],
    *[(f"1x1/2 on {n}", (6, n, n, 32), (1, 1, 8), 2, NONE) for n in (16, 15, 4)],
    *[(f"3x3 on {n}", (6, n, n, 32), (3, 3, 8), 1, ONE) for n in (16, 15, 4, 2, 1)],
    # As many pixels as a batch of the step has there, or the conv_impl is another.
    ("3x3 of one image", (1, 15, 15, 32), (3, 3, 8), 1, ONE),
    ("3x3 on 4, batch", (32, 4, 4, 32), (3, 3, 8), 1, ONE),
    *[(f"3x3/2 on {n}", (6, n, n, 32), (3, 3, 8), 2, ONE) for n in (16, 15, 4)],
    ("first of the CNN", (2, 64, 64, 3), (4, 4, 8), 1, ((1, 2), (1, 2))),
    ("second of the CNN", (2, 8, 8, 8), (2, 2, 16), 1, ((0, 1), (0, 1))),
    ("not square", (6, 9, 6, 32), (3, 2, 8), 2, ((2, 0), (0, 1))),
    ("wide padding", (6, 5, 4, 32), (3, 3, 8), 1, ((3, 0), (0, 4))),
    ("wide padding, batch", (26, 5, 4, 32), (3, 3, 8), 1, ((3, 0), (0, 4))),
]


def make_conv(conv_impl: str, stride: int, padding) -> Callable:
    return lambda x, kernel: conv2d(
        x,
        kernel,
        strides=(stride, stride),
        padding=padding,
        conv_impl=conv_impl,
    )


@pytest.mark.parametrize("conv_impl", CONV_IMPLS)
@pytest.mark.parametrize("case", CONVOLUTIONS, **named)
def test_conv_and_both_gradients_match_float64(case, conv_impl):
    _, x_shape, kernel_shape, stride, padding = case
    x, kernel, y, dy = conv_inputs(x_shape, kernel_shape, stride, padding)
    run = compile_for(make_conv(conv_impl, stride, padding), (x, kernel), dy)
    actual, (dx, dkernel) = run((x, kernel), dy)
    expected_dx, expected_dkernel = numpy_conv(x, kernel, stride, padding, dy)
    assert_close(actual, y, 2e-6)
    assert_close(dx, expected_dx, 2e-6)
    assert_close(dkernel, expected_dkernel, 2e-6)
    if conv_impl == "matmul":
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


@pytest.mark.parametrize("case", [CONVOLUTIONS[i] for i in (0, 9, 14)], **named)
def test_a_batch_on_two_devices_gives_the_same(case):
    _, x_shape, kernel_shape, stride, padding = case
    x, kernel, *_ = conv_inputs(x_shape, kernel_shape, stride, padding)
    conv = make_conv("matmul", stride, padding)
    run = with_gradients(lambda x, kernel: jnp.sum(conv(x, kernel) ** 2))
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


def compile_step(config):
    """Compiles the train step of a config as training does."""
    experiment = make_experiment(config, 6, 1080, jax.local_devices()[:1])
    batch = (
        jax.ShapeDtypeStruct((1080, 64 * 64 * 3), np.uint8),
        jax.ShapeDtypeStruct((1080,), np.int32),
        jax.ShapeDtypeStruct((config.train.batch_size,), np.int32),
    )
    arguments = (experiment.abstract_state(), *batch, experiment.key)
    return experiment.train_step.lower(*arguments).compile()


def test_the_whole_step_of_the_cnn_obeys_the_rule():
    assert slow_instructions(compile_step(cnn.get_config())) == []


# XLA's convolutions would be fast on the CPU where they are float32, NHWC, of an
# unreversed window and outside of loops. The rule is simpler: there are none.
@pytest.mark.slow
def test_the_whole_step_of_the_resnet_obeys_the_rule():
    config = resnet.get_config()
    config.model.stage_sizes = (2, 2, 2, 2)  # all kinds of blocks, in half the time
    assert slow_instructions(compile_step(config)) == []
