"""The train and eval steps, against float64 NumPy and against themselves."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from signjax.augment import augment
from signjax.models.resnet import ResNet
from signjax.runtime.distributed import make_mesh
from signjax.runtime.jit import jit_inference
from signjax.state import Metrics, TrainState
from signjax.step import eval_step
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
    normalize,
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


def update(setup: Setup, indices: np.ndarray) -> tuple[TrainState, TrainState, Metrics]:
    """The state before and after one step, and the batch's metrics."""
    old = copy(setup.make_state())
    return old, *setup.train_step(setup.make_state(), ROWS, LABELS, indices, KEY)


def smoothed_loss(forward: Any, params: Any, indices: np.ndarray) -> float:
    logits = forward(params, inputs(indices))
    return reference.cross_entropy(logits, LABELS[indices], SMOOTHING).mean()


def test_the_loss_is_the_smoothed_cross_entropy_of_the_batch() -> None:
    indices = batch(*range(10))
    old, new, metrics = update(set_up(SMALL), indices)
    logits = reference.cnn(float64(old.params), inputs(indices))
    losses = reference.cross_entropy(logits, LABELS[indices], SMOOTHING)
    result = metrics.compute()
    assert result["loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert result["accuracy"] == (logits.argmax(-1) == LABELS[indices]).mean()
    assert int(metrics.count) == 10
    assert int(new.step) == 1


def test_the_gradient_is_that_of_the_float64_loss() -> None:
    indices = batch(*range(6))
    old, new, _ = update(set_up(SMALL), indices)
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
    optimized: None,
) -> None:
    indices = batch(*range(8))
    old, new, metrics = update(set_up(TINY, rate=LOW_RATE), indices)
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


def test_running_statistics_move_by_the_momentum() -> None:
    indices = batch(*range(8))
    old, new, _ = update(set_up(TINY, rate=LOW_RATE), indices)
    forward = reference_of(TINY)
    forward(float64(old.params), inputs(indices))
    assert len(forward.batch_statistics) == 1 + 4 + 3 + 4
    for name, (mean, variance) in forward.batch_statistics.items():
        before, after = old.batch_stats, new.batch_stats
        for part in name.split("/"):
            before, after = before[part], after[part]
        for statistic, value in (("mean", mean), ("var", variance)):
            expected = 0.9 * before[statistic].astype(np.float64) + 0.1 * value
            np.testing.assert_allclose(after[statistic], expected, 1e-4, 1e-5)


def test_padding_changes_nothing() -> None:
    whole = update(set_up(SMALL), batch(3, 1, 4, 15, 9))
    padded = update(set_up(SMALL), batch(3, 1, 4, 15, 9, -1, -1, -1))
    assert int(padded[-1].count) == 5
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-6), whole, padded
    )


def test_equal_key_and_step_give_equal_bits() -> None:
    indices = batch(*range(16))

    augmented = set_up(SMALL, augment=TURN)

    def loss(step_number: int, key: jax.Array) -> tuple[TrainState, float]:
        state = augmented.make_state().replace(step=np.int32(step_number))
        new, metrics = augmented.train_step(state, ROWS, LABELS, indices, key)
        return new, metrics.compute()["loss"]

    first, again = loss(7, KEY), loss(7, KEY)
    assert_same_bits(first, again)
    assert loss(8, KEY)[1] != first[1]
    assert loss(7, jax.random.key(12))[1] != first[1]


def test_the_state_is_donated_and_the_data_are_not() -> None:
    state = set_up(SMALL).make_state()
    images, labels = jnp.asarray(ROWS), jnp.asarray(LABELS)
    new, _ = set_up(SMALL).train_step(state, images, labels, batch(*range(8)), KEY)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
    assert not images.is_deleted()
    set_up(SMALL).eval_step(new.variables, IMAGES[:8])
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


def test_outliers_are_learned_from_and_counted_by_no_metric() -> None:
    some = set_up(SMALL, outlier_count=3)
    old, new, metrics = update(some, batch(*range(8)))
    _, rest_new, rest = update(set_up(SMALL), batch(*range(3, 8)))
    assert metrics.count == rest.count == 5
    assert metrics.correct == rest.correct
    np.testing.assert_allclose(metrics.loss_sum, rest.loss_sum, rtol=1e-5)
    gradients, of_rest = gradient_of(old, new), gradient_of(old, rest_new)
    # Of the mean over eight, five are the rest; three are of what was drawn.
    drawn = jax.tree.map(lambda a, b: (8 * a - 5 * b) / 3, gradients, of_rest)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(drawn)) > 1e-3


@pytest.mark.parametrize(
    ("model", "changes", "rtol"),
    [
        (SMALL, {"augment": TURN}, 1e-5),
        (SMALL, {"outlier_count": 3}, 1e-5),
        (TINY, {"rate": LOW_RATE}, 1e-3),
    ],
    ids=["augmented", "outliers", "batch norm"],
)
def test_eight_devices_follow_the_loss_curve_of_one(
    model: Any, changes: dict[str, Any], rtol: float
) -> None:
    one, eight = (
        losses_of(set_up(model, devices=count, **changes)) for count in (1, 8)
    )
    np.testing.assert_allclose(one, eight, rtol=rtol)


def test_a_frozen_backbone_keeps_its_bits_and_the_head_learns() -> None:
    frozen = set_up(TINY, freeze_backbone=True)
    state, rng = frozen.make_state(), np.random.default_rng(0)
    # -0.0 is the bit pattern that adding a zero update would change.
    params = jax.tree.map(
        lambda x: np.where(rng.random(x.shape) < 0.1, np.float32(-0.0), x), state.params
    )
    old = new = state.replace(params=params)
    for _ in range(2):
        new, _ = frozen.train_step(copy(new), ROWS, LABELS, batch(*range(8)), KEY)
    heads = [params.pop("head")["kernel"] for params in (old.params, new.params)]
    assert not np.array_equal(*heads)
    assert_same_bits(old.variables, new.variables)


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


def test_evaluation_uses_the_running_statistics_and_leaves_them() -> None:
    resnet = set_up(TINY)
    state = resnet.make_state()
    before = copy(state)
    both = resnet.eval_step(state.variables, IMAGES[:8])
    assert_same_bits(both, resnet.eval_step(state.variables, IMAGES[:8]))
    assert_same_bits(before, state)
    others = np.concatenate([IMAGES[:4], IMAGES[30:34]])
    alone = resnet.eval_step(state.variables, others)
    np.testing.assert_allclose(both[:4], alone[:4], 1e-5, 1e-5)
    moved = jax.tree.map(lambda x: x + 0.5, state.batch_stats)
    shifted = resnet.eval_step({**state.variables, "batch_stats": moved}, IMAGES[:8])
    assert not np.allclose(both, shifted, atol=1e-2)


@pytest.mark.parametrize("rotation", [0.0, 90.0])
@pytest.mark.parametrize("flip", [False, True])
def test_test_time_augmentation_is_the_mean_over_the_views(
    flip: bool, rotation: float
) -> None:
    evaluate = jit_inference(
        make_mesh(jax.devices()[:2]),
        partial(
            eval_step,
            model=SMALL,
            normalize=normalize,
            flip=flip,
            rotation=rotation,
        ),
    )
    variables = set_up(SMALL, devices=2).make_state().variables
    params, images = float64(variables["params"]), inputs(np.arange(8))
    quarters = (0, 1, 3) if rotation else (0,)
    views = [np.rot90(images, turns, axes=(1, 2)) for turns in quarters]
    views += [np.flip(view, axis=2) for view in views if flip]
    logits = [reference.cnn(params, view) for view in views]
    assert len(views) == 1 or np.ptp(logits, axis=0).max() > 1e-2
    found = evaluate(variables, IMAGES[:8])
    np.testing.assert_allclose(found, np.mean(logits, axis=0), 1e-4, 1e-4)
