"""The eval step, against float64 NumPy and against itself."""

import jax
import numpy as np
import pytest
import reference

from signjax import step
from tests.helpers.compiled_steps import (
    IMAGES,
    SMALL,
    TINY,
    assert_same_bits,
    copy,
    float64,
    inputs,
    normalize,
    set_up,
)


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
