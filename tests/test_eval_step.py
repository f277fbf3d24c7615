"""The eval step, against float64 NumPy and against itself."""

from functools import partial

import jax
import numpy as np
import pytest

from signjax import step
from signjax.runtime.distributed import make_mesh
from tests.helpers import reference
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


@pytest.mark.parametrize("rotation", [0.0, 90.0])
@pytest.mark.parametrize("flip", [False, True])
def test_test_time_augmentation_is_the_mean_over_the_views(
    flip: bool, rotation: float
) -> None:
    evaluate = step.jit_inference(
        make_mesh(jax.devices()[:2]),
        partial(
            step.eval_step,
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
