"""The train and eval steps, against float64 NumPy and against themselves."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference
from flax import linen as nn

from signjax.data.augment import augment
from signjax.models.cnn import CNN
from signjax.models.resnet import ResNet
from signjax.training import step
from signjax.training.metrics import Metrics
from signjax.training.state import TrainState, create_state

SIZE = 32  # pixels a side
CLASSES = 6
SMOOTHING = 0.1
# Of plain SGD, so that (old - new) / rate is the gradient. The lower one keeps a
# network with BatchNorm from amplifying rounding from step to step.
RATE, LOW_RATE = 0.1, 0.003
KEY = jax.random.key(11)
SMALL = CNN(CLASSES)
TINY = ResNet(
    CLASSES,
    stage_sizes=(2, 1),
    zero_init_last_scale=False,
)


class Setup(NamedTuple):
    """A network's compiled steps. make_state: a new, equal state at each call."""

    train_step: Callable[..., Any]
    eval_step: Callable[..., Any]
    make_state: Callable[[], TrainState]


def normalize(images: jax.Array) -> jax.Array:
    return (images - 0.5) / 0.25


def leave(images: jax.Array, key: jax.Array) -> jax.Array:
    del key
    return images


def set_up(
    model: nn.Module,
    *,
    devices: int = 1,
    augment: step.Augment = leave,
    optimizer: optax.GradientTransformation | None = None,
    outliers: int = 0,
) -> Setup:
    optimizer = optimizer or optax.sgd(RATE)
    mesh = step.make_mesh(jax.devices()[:devices])
    train_step = step.compile_train_step(
        mesh,
        model=model,
        optimizer=optimizer,
        augment=augment,
        normalize=normalize,
        label_smoothing=SMOOTHING,
        outliers=outliers,
    )
    eval_step = step.compile_eval_step(mesh, model=model, normalize=normalize)
    start = draw_state(model, optimizer)
    place = partial(jax.device_put, start, step.replicated(mesh))
    return Setup(train_step, eval_step, place)


def draw_state(model: nn.Module, optimizer: optax.GradientTransformation) -> TrainState:
    """A start drawn with NumPy: the initialisers take longer to compile than steps."""
    create = partial(create_state, model, optimizer, image_size=SIZE)
    shapes = jax.eval_shape(create, jax.random.key(0))
    rng = np.random.default_rng(5)

    def draw(path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        noise = rng.standard_normal(leaf.shape, np.float32)
        if path[-1].key == "kernel":
            return noise * np.float32(np.sqrt(2 / np.prod(leaf.shape[:-1])))
        centre = 1 if path[-1].key in ("scale", "var") else 0
        return centre + np.float32(0.1) * noise

    params, batch_stats = jax.tree_util.tree_map_with_path(
        draw, (shapes.params, shapes.batch_stats)
    )
    return TrainState(
        step=np.int32(0),  # type: ignore[arg-type]
        params=params,
        batch_stats=batch_stats,
        opt_state=optimizer.init(params),
        metrics=Metrics.zero(),
    )


def make_data(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Images of noise, brighter by class, so that there is something to learn."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, count).astype(np.int32)
    noise = rng.integers(0, 120, (count, SIZE, SIZE, 3))
    return (noise + 20 * labels[:, None, None, None]).astype(np.uint8), labels


IMAGES, LABELS = make_data()


def batch(*indices: int) -> np.ndarray:
    return np.array(indices, np.int32)


def inputs(indices: np.ndarray) -> np.ndarray:
    return (IMAGES[indices].astype(np.float64) / 255 - 0.5) / 0.25


def float64(tree: Any) -> Any:
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def gradient_of(old: TrainState, new: TrainState, rate: float = RATE) -> Any:
    return jax.tree.map(
        lambda a, b: (a - b) / rate, float64(old.params), float64(new.params)
    )


def copy(state: TrainState) -> TrainState:
    return jax.tree.map(np.asarray, state)


def assert_same_bits(a: Any, b: Any) -> None:
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert np.asarray(left).tobytes() == np.asarray(right).tobytes()


TURN = partial(augment, flip=True, rotation=10.0, translation=0.1, brightness=0.2)


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
    new, metrics = cnn.train_step(state, IMAGES, LABELS, indices, KEY)
    result = metrics.compute()
    assert result["loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert result["accuracy"] == (logits.argmax(-1) == LABELS[indices]).mean()
    assert int(metrics.count) == 10
    assert int(new.step) == 1


def test_the_gradient_is_that_of_the_float64_loss(cnn: Setup) -> None:
    state = cnn.make_state()
    old, indices = copy(state), batch(*range(6))
    new, _ = cnn.train_step(state, IMAGES, LABELS, indices, KEY)
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
    new, metrics = resnet.train_step(state, IMAGES, LABELS, indices, KEY)
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
    new, _ = resnet.train_step(state, IMAGES, LABELS, indices, KEY)
    assert len(forward.batch_statistics) == 1 + 4 + 3 + 4
    for name, (mean, variance) in forward.batch_statistics.items():
        before, after = old.batch_stats, new.batch_stats
        for part in name.split("/"):
            before, after = before[part], after[part]
        for statistic, value in (("mean", mean), ("var", variance)):
            expected = 0.9 * before[statistic].astype(np.float64) + 0.1 * value
            np.testing.assert_allclose(after[statistic], expected, 1e-4, 1e-5)


def test_evaluation_uses_the_running_statistics_and_leaves_them(resnet: Setup) -> None:
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


def test_a_mirrored_evaluation_is_the_mean_of_both_images() -> None:
    mesh = step.make_mesh(jax.devices()[:2])
    mirrored = step.compile_eval_step(
        mesh, model=SMALL, normalize=normalize, mirror=True
    )
    variables = set_up(SMALL, devices=2).make_state().variables
    params, images = float64(variables["params"]), inputs(np.arange(8))
    logits = [reference.cnn(params, x) for x in (images, np.flip(images, axis=2))]
    assert np.abs(logits[0] - logits[1]).max() > 1e-2
    found = mirrored(variables, IMAGES[:8])
    np.testing.assert_allclose(found, np.mean(logits, axis=0), 1e-4, 1e-5)


@pytest.mark.parametrize("mirror", [False, True])
def test_a_turned_evaluation_is_the_mean_over_the_turns(mirror: bool) -> None:
    mesh = step.make_mesh(jax.devices()[:2])
    turned = step.compile_eval_step(
        mesh, model=SMALL, normalize=normalize, mirror=mirror, turn=90.0
    )
    variables = set_up(SMALL, devices=2).make_state().variables
    params, images = float64(variables["params"]), inputs(np.arange(8))
    views = [np.rot90(images, quarters, axes=(1, 2)) for quarters in (0, 1, 3)]
    views += [np.flip(view, axis=2) for view in views if mirror]
    logits = [reference.cnn(params, view) for view in views]
    assert np.ptp(logits, axis=0).max() > 1e-2
    found = turned(variables, IMAGES[:8])
    np.testing.assert_allclose(found, np.mean(logits, axis=0), 1e-4, 1e-4)


def test_padding_changes_nothing(cnn: Setup) -> None:
    whole, _ = cnn.train_step(
        cnn.make_state(), IMAGES, LABELS, batch(3, 1, 4, 15, 9), KEY
    )
    padded, metrics = cnn.train_step(
        cnn.make_state(), IMAGES, LABELS, batch(3, 1, 4, 15, 9, -1, -1, -1), KEY
    )
    assert int(metrics.count) == 5
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(padded), strict=True):
        np.testing.assert_allclose(a, b, 1e-5, 1e-6)


def test_equal_key_and_step_give_equal_bits(augmented: Setup) -> None:
    indices = batch(*range(16))

    def loss(step_number: int, key: jax.Array) -> tuple[TrainState, float]:
        state = augmented.make_state()
        state = state.replace(step=np.int32(step_number))
        new, metrics = augmented.train_step(state, IMAGES, LABELS, indices, key)
        return new, metrics.compute()["loss"]

    first, again = loss(7, KEY), loss(7, KEY)
    assert_same_bits(first, again)
    assert loss(8, KEY)[1] != first[1]
    assert loss(7, jax.random.key(12))[1] != first[1]


def test_the_state_is_donated_and_the_data_are_not(cnn: Setup) -> None:
    state = cnn.make_state()
    images, labels = jnp.asarray(IMAGES), jnp.asarray(LABELS)
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
        state, metrics = setup.train_step(state, IMAGES, LABELS, indices, KEY)
        losses.append(metrics.compute()["loss"])
    logits = np.asarray(setup.eval_step(state.variables, IMAGES[:8]), np.float64)
    return [*losses, reference.cross_entropy(logits, LABELS[:8]).mean()]


def test_outliers_are_learned_from_and_counted_by_no_metric(cnn: Setup) -> None:
    with_some = set_up(SMALL, outliers=3)
    new, metrics = with_some.train_step(
        with_some.make_state(), IMAGES, LABELS, batch(*range(8)), KEY
    )
    rest_new, rest = cnn.train_step(
        cnn.make_state(), IMAGES, LABELS, batch(*range(3, 8)), KEY
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
    one, eight = (set_up(SMALL, outliers=3, devices=n) for n in (1, 8))
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
        setup.train_step, state, IMAGES, LABELS, batch(*range(8)), KEY
    )
    for tree in (state.batch_stats, new.params, new.batch_stats):
        assert {leaf.dtype for leaf in jax.tree.leaves(tree)} == {jnp.dtype("float32")}
    assert metrics.loss_sum.dtype == jnp.float32
