"""What a step over several devices sums: docs/scaling.md's formulas, in the program."""

from functools import reduce
from operator import add

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from signjax.benchmark import hlo
from signjax.models.resnet import ResNet
from tests.helpers.compiled_steps import (
    LABELS,
    RATE,
    ROWS,
    TINY,
    copy,
    float64,
    set_up,
)

KEY = jax.random.key(0)


def test_a_step_sums_gradients_once_and_statistics_once_a_layer_and_pass() -> None:
    setup = set_up(TINY, devices=8)
    state = jax.eval_shape(setup.make_state)
    indices = np.arange(16, dtype=np.int32)
    lowered = setup.train_step.lower(state, ROWS, LABELS, indices, KEY)
    found = hlo.collectives(lowered.compile().as_text())
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    channels = sum(leaf.size for leaf in jax.tree.leaves(state.batch_stats)) // 2
    blocks = sum(TINY.stage_sizes)
    assert {(row["operation"], row["type"]) for row in found} == {
        ("all-reduce", "f32"),
        ("all-reduce", "s32"),
    }
    floats, integers = sorted(found, key=lambda row: row["type"])
    # BatchNorm, forward and backward: the stem's, and of a block three, with one of
    # which the shortcut's goes; then all gradients.
    assert floats["count"] == 2 * (1 + 3 * blocks) + 1
    # Four sums a channel, of which one is the bias' gradient; and the loss.
    assert floats["bytes"] == 4 * (parameters + 3 * channels + 1)
    # Images: of the loss, of the metrics, and classified right.
    assert (integers["count"], integers["bytes"]) == (1, 3 * 4)


@pytest.mark.slow
def test_sums_in_bfloat16_lose_little_beside_bfloat16_activations() -> None:
    exact, rounded = (gradients(TINY.clone(dtype=d)) for d in ("float32", "bfloat16"))
    total, bfloat16 = rounded.sum(axis=0), jnp.bfloat16
    one_by_one = reduce(add, rounded.astype(bfloat16))  # rounded after each
    assert one_by_one.dtype == bfloat16
    loss = distance(one_by_one.astype(np.float64), total)
    assert 0 < loss < distance(total, exact.sum(axis=0)) / 20


def gradients(model: ResNet) -> np.ndarray:
    """Those of eight devices, on five images each: float64 [8, parameters]."""
    setup, rows = set_up(model), []
    old = float64(copy(setup.make_state()).params)
    for batch in np.arange(40, dtype=np.int32).reshape(8, 5):
        new, _ = setup.train_step(setup.make_state(), ROWS, LABELS, batch, KEY)
        leaves = jax.tree.map(
            lambda a, b: (a - b).ravel() / RATE, old, float64(new.params)
        )
        rows.append(np.concatenate(jax.tree.leaves(leaves)))
    return np.stack(rows)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
