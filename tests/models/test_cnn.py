"""The small CNN is the Keras network of 1,310 parameters."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from signjax.models.cnn import CNN
from signjax.ops.convolution import ConvImpl
from tests.helpers import reference


def shapes(model: CNN, size: int) -> tuple[dict, tuple[int, ...]]:
    images = jax.ShapeDtypeStruct((5, size, size, 3), jnp.float32)
    logits, variables = jax.eval_shape(
        partial(model.init_with_output, train=False), jax.random.key(0), images
    )
    return variables, logits.shape


def test_it_has_the_parameters_of_the_reference() -> None:
    variables, _ = shapes(CNN(6), 64)
    assert variables.keys() == {"params"}
    found = jax.tree.map(lambda leaf: leaf.shape, dict(variables["params"]))
    assert found == {
        "conv1": {"kernel": (4, 4, 3, 8), "bias": (8,)},
        "conv2": {"kernel": (2, 2, 8, 16), "bias": (16,)},
        "head": {"kernel": (64, 6), "bias": (6,)},
    }
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 1310


@pytest.mark.parametrize("size", [32, 64, 96])
@pytest.mark.parametrize("classes", [2, 10])
def test_it_takes_other_sizes_and_numbers_of_classes(size: int, classes: int) -> None:
    assert shapes(CNN(classes), size)[1] == (5, classes)


@pytest.mark.parametrize("conv_impl", ["xla", "matmul"])
def test_the_logits_are_those_of_float64(conv_impl: ConvImpl) -> None:
    model, rng = CNN(6, conv_impl=conv_impl), np.random.default_rng(0)
    variables, _ = shapes(model, 64)
    params = jax.tree.map(
        lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(np.float32),
        variables["params"],
    )
    images = rng.random((3, 64, 64, 3), np.float32)
    logits = jax.jit(partial(model.apply, train=False))({"params": params}, images)
    expected = reference.cnn(
        jax.tree.map(lambda leaf: leaf.astype(np.float64), params),
        images.astype(np.float64),
    )
    np.testing.assert_allclose(logits, expected, 1e-4, 1e-4)


def test_both_implementations_have_the_same_gradients() -> None:
    rng = np.random.default_rng(0)
    variables, _ = shapes(CNN(6), 64)
    params = jax.tree.map(
        lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(np.float32),
        variables["params"],
    )
    images = rng.random((3, 64, 64, 3), np.float32)

    def gradients(conv_impl: ConvImpl) -> dict:
        model = CNN(6, conv_impl=conv_impl)
        loss = lambda p: jnp.sum(model.apply({"params": p}, images, train=True) ** 2)  # noqa: E731
        return jax.jit(jax.grad(loss))(params)

    ours, xlas = gradients("matmul"), gradients("xla")
    assert jax.tree.structure(ours) == jax.tree.structure(xlas)
    for found, expected in zip(
        jax.tree.leaves(ours), jax.tree.leaves(xlas), strict=True
    ):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * scale)


def test_kernels_start_glorot_uniform_and_biases_at_zero() -> None:
    init = jax.jit(partial(CNN(6).init, train=False))
    params = init(jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32))["params"]
    for layer in params.values():
        kernel = np.asarray(layer["kernel"])
        area = int(np.prod(kernel.shape[:-2]))
        limit = np.sqrt(6 / (area * (kernel.shape[-2] + kernel.shape[-1])))
        assert 0.95 * limit < np.abs(kernel).max() <= limit
        assert abs(kernel.mean()) < 4 * limit / np.sqrt(3 * kernel.size)
        assert not np.asarray(layer["bias"]).any()
