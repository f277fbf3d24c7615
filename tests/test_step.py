"""The train step, against float64 NumPy and against itself."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from signjax.augment import augment
from signjax.models.resnet import ResNet
from signjax.state import TrainState
from tests.helpers import reference
from tests.helpers.compiled_steps import (
    IMAGES,
    LABELS,
    RATE,
    ROWS,
    SMALL,
    SMOOTHING,
    TINY,
    Setup,
    assert_same_bits,
    copy,
    float64,
    inputs,
    set_up,
)

# Keeps a network with BatchNorm from amplifying rounding from step to step.
LOW_RATE = 0.003
KEY = jax.random.key(11)
TURN = partial(augment, flip=True, rotation=10.0, translation=0.1, brightness=0.2)


def batch(*indices: int) -> np.ndarray:
    return np.array(indices, np.int32)


def gradient_of(old: TrainState, new: TrainState, rate: float = RATE) -> Any:
    return jax.tree.map(
        lambda a, b: (a - b) / rate, float64(old.params), float64(new.params)
    )


@pytest.fixture(scope="module")
def cnn() -> Setup:
    return set_up(SMALL)


@pytest.fixture(scope="module")
def augmented() -> Setup:
    return set_up(SMALL, augment=TURN)


@pytest.fixture(scope="module")
def resnet() -> Setup:
    return set_up(TINY, optimizer=optax.sgd(LOW_RATE))


def smoothed_loss(forward: Any, params: Any, indices: np.ndarray) -> float:
    logits = forward(params, inputs(indices))
    return reference.cross_entropy(logits, LABELS[indices], SMOOTHING).mean()


def test_the_loss_is_the_smoothed_cross_entropy_of_the_batch(cnn: Setup) -> None:
    state = cnn.make_state()
    indices = batch(*range(10))
    logits = reference.cnn(float64(state.params), inputs(indices))
    losses = reference.cross_entropy(logits, LABELS[indices], SMOOTHING)
    new, metrics = cnn.train_step(state, ROWS, LABELS, indices, KEY)
    result = metrics.compute()
    assert result["loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert result["accuracy"] == (logits.argmax(-1) == LABELS[indices]).mean()
    assert int(metrics.count) == 10
    assert int(new.step) == 1


def test_the_gradient_is_that_of_the_float64_loss(cnn: Setup) -> None:
    state = cnn.make_state()
    old, indices = copy(state), batch(*range(6))
    new, _ = cnn.train_step(state, ROWS, LABELS, indices, KEY)
    gradient, params = gradient_of(old, new), float64(old.params)
    rng, epsilon = np.random.default_rng(0), 1e-6
    leaves, found = jax.tree.leaves(params), jax.tree.leaves(gradient)
    for leaf, slopes in zip(leaves, found, strict=True):
        for position in rng.choice(leaf.size, min(leaf.size, 8), replace=False):
            losses = []
            for shift in (epsilon, -epsilon):
                leaf.flat[position] += shift
                losses.append(smoothed_loss(reference.cnn, params, indices))
                leaf.flat[position] -= shift
            slope = (losses[0] - losses[1]) / (2 * epsilon)
            assert slopes.flat[position] == pytest.approx(slope, rel=1e-3, abs=2e-6)


def test_through_batch_norm_too_the_gradient_is_that_of_the_float64_loss(
    resnet: Setup,
) -> None:
    state = resnet.make_state()
    old, indices = copy(state), batch(*range(8))
    new, metrics = resnet.train_step(state, ROWS, LABELS, indices, KEY)
    params = float64(old.params)
    forward = reference_of(TINY)
    loss = smoothed_loss(forward, params, indices)
    assert metrics.compute()["loss"] == pytest.approx(loss, rel=1e-4)
    rng, epsilon = np.random.default_rng(0), 1e-8
    direction = jax.tree.map(lambda x: rng.standard_normal(x.shape), params)
    ahead, behind = (
        smoothed_loss(
            forward,
            jax.tree.map(lambda p, d: p + shift * d, params, direction),  # noqa: B023
            indices,
        )
        for shift in (epsilon, -epsilon)
    )
    products = jax.tree.map(np.vdot, gradient_of(old, new, LOW_RATE), direction)
    slope = sum(jax.tree.leaves(products))
    assert slope == pytest.approx((ahead - behind) / (2 * epsilon), rel=2e-3)


def reference_of(model: ResNet) -> reference.ResNet:
    return reference.ResNet(
        model.stage_sizes,
        stride_on=model.stride_on,
        pool_padding=model.pool_padding,
        epsilon=model.bn_epsilon,
    )


def test_running_statistics_move_by_the_momentum(resnet: Setup) -> None:
    state = resnet.make_state()
    rng = np.random.default_rng(0)
    state = state.replace(
        batch_stats=jax.tree.map(
            lambda x: rng.uniform(0.5, 2, x.shape).astype(np.float32), state.batch_stats
        )
    )
    old, indices = copy(state), batch(*range(8))
    forward = reference_of(TINY)
    forward(float64(old.params), inputs(indices))
    new, _ = resnet.train_step(state, ROWS, LABELS, indices, KEY)
    assert len(forward.batch_statistics) == 1 + 4 + 3 + 4
    for name, (mean, variance) in forward.batch_statistics.items():
        before, after = old.batch_stats, new.batch_stats
        for part in name.split("/"):
            before, after = before[part], after[part]
        for statistic, value in (("mean", mean), ("var", variance)):
            expected = 0.9 * before[statistic].astype(np.float64) + 0.1 * value
            np.testing.assert_allclose(after[statistic], expected, 1e-4, 1e-5)


def test_padding_changes_nothing(cnn: Setup) -> None:
    whole, _ = cnn.train_step(
        cnn.make_state(), ROWS, LABELS, batch(3, 1, 4, 15, 9), KEY
    )
    padded, metrics = cnn.train_step(
        cnn.make_state(), ROWS, LABELS, batch(3, 1, 4, 15, 9, -1, -1, -1), KEY
    )
    assert int(metrics.count) == 5
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(padded), strict=True):
        np.testing.assert_allclose(a, b, 1e-5, 1e-6)


def test_equal_key_and_step_give_equal_bits(augmented: Setup) -> None:
    indices = batch(*range(16))

    def loss(step_number: int, key: jax.Array) -> tuple[TrainState, float]:
        state = augmented.make_state()
        state = state.replace(step=np.int32(step_number))
        new, metrics = augmented.train_step(state, ROWS, LABELS, indices, key)
        return new, metrics.compute()["loss"]

    first, again = loss(7, KEY), loss(7, KEY)
    assert_same_bits(first, again)
    assert loss(8, KEY)[1] != first[1]
    assert loss(7, jax.random.key(12))[1] != first[1]


def test_the_state_is_donated_and_the_data_are_not(cnn: Setup) -> None:
    state = cnn.make_state()
    images, labels = jnp.asarray(ROWS), jnp.asarray(LABELS)
    new, _ = cnn.train_step(state, images, labels, batch(*range(8)), KEY)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
    assert not images.is_deleted()
    cnn.eval_step(new.variables, IMAGES[:8])
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(new))


def losses_of(setup: Setup) -> list[float]:
    """The loss of each of four steps, then of an evaluation."""
    state, losses = setup.make_state(), []
    for start in range(4):
        indices = batch(*range(start, start + 16))
        state, metrics = setup.train_step(state, ROWS, LABELS, indices, KEY)
        losses.append(metrics.compute()["loss"])
    logits = np.asarray(setup.eval_step(state.variables, IMAGES[:8]), np.float64)
    return [*losses, reference.cross_entropy(logits, LABELS[:8]).mean()]


def test_outliers_are_learned_from_and_counted_by_no_metric(cnn: Setup) -> None:
    with_some = set_up(SMALL, outlier_count=3)
    new, metrics = with_some.train_step(
        with_some.make_state(), ROWS, LABELS, batch(*range(8)), KEY
    )
    rest_new, rest = cnn.train_step(
        cnn.make_state(), ROWS, LABELS, batch(*range(3, 8)), KEY
    )
    assert metrics.count == rest.count == 5
    assert metrics.correct == rest.correct
    np.testing.assert_allclose(metrics.loss_sum, rest.loss_sum, rtol=1e-5)
    old = copy(cnn.make_state())
    gradients, of_rest = gradient_of(old, new), gradient_of(old, rest_new)
    # Of the mean over eight, five are the rest; three are of what was drawn.
    drawn = jax.tree.map(lambda a, b: (8 * a - 5 * b) / 3, gradients, of_rest)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(drawn)) > 1e-3


def test_eight_devices_follow_the_loss_curve_of_one(augmented: Setup) -> None:
    eight = set_up(SMALL, augment=TURN, devices=8)
    np.testing.assert_allclose(losses_of(augmented), losses_of(eight), rtol=1e-5)


def test_with_outliers_too_eight_devices_follow_the_loss_curve_of_one() -> None:
    one, eight = (set_up(SMALL, outlier_count=3, devices=n) for n in (1, 8))
    np.testing.assert_allclose(losses_of(one), losses_of(eight), rtol=1e-5)


def test_with_batch_norm_too_eight_devices_follow_the_loss_curve_of_one(
    resnet: Setup,
) -> None:
    one, eight = (
        losses_of(resnet),
        losses_of(set_up(TINY, devices=8, optimizer=optax.sgd(LOW_RATE))),
    )
    np.testing.assert_allclose(one, eight, rtol=1e-3)


def test_bfloat16_computes_while_float32_is_kept() -> None:
    model = SMALL.clone(dtype=jnp.bfloat16)
    setup = set_up(model)
    state = setup.make_state()
    kept = {leaf.dtype for leaf in jax.tree.leaves((state.params, state.opt_state))}
    assert kept == {jnp.dtype(jnp.float32)}
    exact = reference.cnn(float64(state.params), inputs(np.arange(8)))
    logits = setup.eval_step(state.variables, IMAGES[:8])
    assert logits.dtype == jnp.float32
    error = np.abs(logits - exact).max()
    assert 1e-4 < error < 0.05 * np.abs(exact).max() + 0.02


def test_bfloat16_keeps_statistics_in_float32() -> None:
    model = TINY.clone(dtype=jnp.bfloat16)
    setup = set_up(model)
    state = jax.eval_shape(setup.make_state)
    new, metrics = jax.eval_shape(
        setup.train_step, state, ROWS, LABELS, batch(*range(8)), KEY
    )
    for tree in (state.batch_stats, new.params, new.batch_stats):
        assert {leaf.dtype for leaf in jax.tree.leaves(tree)} == {jnp.dtype("float32")}
    assert metrics.loss_sum.dtype == jnp.float32
