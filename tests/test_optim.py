"""Schedules by formula; one and two steps of each optimizer against float64 NumPy."""

import math
from typing import Any

import jax
import numpy as np
import optax
import pytest

from signjax.models import depth_below_head
from signjax.optim import is_kernel, make_optimizer, make_schedule, scale_by_depth

RATE = 0.1


def schedule(name: Any, warmup: int, total: int = 100) -> Any:
    return make_schedule(
        name, learning_rate=RATE, warmup_steps=warmup, total_steps=total
    )


def tree(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    return {
        "conv": {"kernel": draw(2, 2, 3, 4), "bias": draw(4)},
        "block": {"bn": {"scale": draw(4), "bias": draw(4)}},
        "head": {"kernel": draw(4, 6), "bias": draw(6)},
    }


def make(name: Any, **changes: Any) -> tuple[optax.GradientTransformation, Any]:
    keys: dict[str, Any] = dict(
        learning_rate=RATE,
        schedule="cosine",
        warmup_epochs=0.0,
        layer_decay=1.0,
        head_epochs=0.0,
        weight_decay=0.0,
        momentum=0.9,
        epsilon=1e-3,
        epochs=1,
        steps_per_epoch=2,
        depth_below_head=len,
    )
    return make_optimizer(name, **(keys | changes))


def two_steps(name: Any, **changes: Any) -> dict[str, Any]:
    """Parameters after the gradients tree(1) and tree(2), at rates 0.1 and 0.05."""
    optimizer, _ = make(name, **changes)
    params = tree(0)
    state = optimizer.init(params)
    for seed in (1, 2):
        updates, state = optimizer.update(tree(seed), state, params)
        params = optax.apply_updates(params, updates)
    return params  # type: ignore[return-value]


def assert_close(found: Any, expected: Any) -> None:
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, 2e-5, 1e-6), found, expected
    )


def float64(tree_: Any) -> Any:
    return jax.tree.map(lambda x: x.astype(np.float64), tree_)


def by_formula(formula: Any) -> Any:
    """`formula(parameter, gradient 1, gradient 2, is it a kernel)` at each leaf."""
    parts = (float64(tree(seed)) for seed in range(3))
    return jax.tree_util.tree_map_with_path(
        lambda path, *leaves: formula(*leaves, path[-1].key == "kernel"), *parts
    )


@pytest.mark.parametrize("step", [0, 1, 5, 9, 10, 11, 55, 99, 100])
def test_warm_up_then_cosine(step: int) -> None:
    if step < 10:
        expected = RATE * step / 10
    else:
        expected = RATE * (1 + math.cos(math.pi * (step - 10) / 90)) / 2
    assert float(schedule("cosine", 10)(step)) == pytest.approx(expected, abs=1e-8)


def test_without_warm_up_the_first_step_is_at_the_peak() -> None:
    assert float(schedule("cosine", 0)(0)) == pytest.approx(RATE)
    assert float(schedule("constant", 0)(0)) == pytest.approx(RATE)


def test_constant_stays() -> None:
    rates = [float(schedule("constant", 4)(step)) for step in (2, 4, 50, 1000)]
    assert rates == pytest.approx([RATE / 2, RATE, RATE, RATE])


def test_a_warm_up_longer_than_the_run_still_climbs() -> None:
    assert float(schedule("cosine", 200)(99)) == pytest.approx(RATE * 99 / 200)


def test_warm_up_is_counted_in_epochs() -> None:
    _, rate = make("sgd", warmup_epochs=2.0, epochs=12, steps_per_epoch=10)
    rates = [float(rate(step)) for step in (0, 10, 20, 70, 120)]
    assert rates == pytest.approx([0, RATE / 2, RATE, RATE / 2, 0], abs=1e-7)


def test_only_kernels_decay() -> None:
    flags = is_kernel(tree(0))
    assert flags == {
        "conv": {"kernel": True, "bias": False},
        "block": {"bn": {"scale": False, "bias": False}},
        "head": {"kernel": True, "bias": False},
    }


def test_sgd_is_nesterovs_with_decay_in_the_gradient() -> None:
    def formula(p: Any, g1: Any, g2: Any, kernel: bool) -> Any:
        velocity = 0.0
        for rate, gradient in ((0.1, g1), (0.05, g2)):
            gradient = gradient + 0.01 * p * kernel
            velocity = 0.9 * velocity + gradient
            p = p - rate * (gradient + 0.9 * velocity)
        return p

    found = two_steps("sgd", weight_decay=0.01)
    assert_close(found, by_formula(formula))


@pytest.mark.parametrize(("name", "decay"), [("adam", 0.0), ("adamw", 0.2)])
def test_adam_and_adamw_follow_their_papers(name: str, decay: float) -> None:
    def formula(p: Any, g1: Any, g2: Any, kernel: bool) -> Any:
        m = v = 0.0
        for t, (rate, gradient) in enumerate(((0.1, g1), (0.05, g2)), 1):
            m = 0.9 * m + 0.1 * gradient
            v = 0.999 * v + 0.001 * gradient**2
            step = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-3)
            p = p - rate * (step + decay * p * kernel)
        return p

    found = two_steps(name, weight_decay=decay)
    assert_close(found, by_formula(formula))


def test_momentum_is_sgds_to_set() -> None:
    found = two_steps("sgd", momentum=0.0)
    assert_close(found, by_formula(lambda p, g1, g2, _: p - 0.1 * g1 - 0.05 * g2))


DEPTHS = {"head": 0, "stage4_block3": 1, "stage1_block1": 4, "conv_stem": 5}


def test_updates_shrink_with_depth_and_the_head_goes_first() -> None:
    scaling = scale_by_depth(depth_below_head, layer_decay=0.5, head_steps=1)
    ones = {name: {"kernel": np.ones(2, np.float32)} for name in DEPTHS}
    first, state = scaling.update(ones, scaling.init(ones))
    second, _ = scaling.update(ones, state)
    for name, depth in DEPTHS.items():
        assert set(np.asarray(first[name]["kernel"])) == {float(name == "head")}
        assert set(np.asarray(second[name]["kernel"])) == {0.5**depth}
